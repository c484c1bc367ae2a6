"""What follows ``shape:`` in a pattern: a number of axes, the length of each, or a kind of kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass

from freezeplan.spec.selector_error import SelectorError

DEPTHWISE = "depthwise"
_AXES = re.compile(r"(\d)d")
_LENGTHS = re.compile(r"(?:\*|\d{1,9})(?:x(?:\*|\d{1,9}))*")


@dataclass(frozen=True)
class Shape:
    """What a tensor must be like: so many ``axes``, or ``lengths`` (None: any), or a ``depthwise`` kernel."""

    axes: int | None = None
    lengths: tuple[int | None, ...] | None = None
    depthwise: bool = False

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Tell whether a tensor of this shape is meant, as far as the shape tells.

        >>> Shape(axes=1).fits((768,)), Shape(lengths=(None, 1, 3, 3)).fits((32, 1, 3, 3))
        (True, True)
        """
        if self.axes is not None:
            return len(shape) == self.axes
        if self.lengths is not None:
            pairs = zip(self.lengths, shape, strict=False)
            return len(shape) == len(self.lengths) and all(want in (None, has) for want, has in pairs)
        return len(shape) > 2 and shape[1] == 1


def parse_shape(text: str, start: int = 0) -> Shape:
    """Read what follows ``shape:``; ``start`` is where it stands in the pattern.

    Raises :class:`SelectorError` with the place and what may be written.

    >>> parse_shape("1d"), parse_shape("*x768").lengths
    (Shape(axes=1, lengths=None, depthwise=False), (None, 768))
    """
    if text == DEPTHWISE:
        return Shape(depthwise=True)
    if found := _AXES.fullmatch(text):
        return Shape(axes=int(found[1]))
    if _LENGTHS.fullmatch(text):
        return Shape(lengths=tuple(None if part == "*" else int(part) for part in text.split("x")))
    advice = "write `shape:1d`, `shape:768x768`, `shape:*x1x3x3` or `shape:depthwise`"
    raise SelectorError("FP148", f"`{text}` is not a shape", start, len(text), advice)
