"""Brace alternatives of patterns: ``{a,b}`` and ``{0..5}``, expanded with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

from freezeplan.spec.selector_error import SelectorError

MOST_BRANCHES = 4096

_BRACE = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,6})\.\.(\d{1,6})")


@dataclass(frozen=True)
class Choice:
    """One alternative of a brace, and where it stands in the pattern; a range's numbers share a place."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Piece:
    """A run of a pattern's text, and the alternative that it comes from, if any."""

    text: str
    start: int
    end: int
    choice: Choice | None = None

    def part(self, start: int, end: int) -> Piece:
        """Return the piece for ``text[start:end]``; a range's number keeps the place of its range."""
        if self.choice and len(self.text) != self.end - self.start:
            return Piece(self.text[start:end], self.start, self.end, self.choice)
        return Piece(self.text[start:end], self.start + start, self.start + end, self.choice)


def alternatives(text: str) -> list[list[Piece]]:
    """Return what may stand at each place of a pattern, in order: its text outside braces, and each brace's pieces.

    A form of the pattern takes one of each. Raises :class:`SelectorError` for unbalanced, nested or empty braces
    and for more than 4,096 forms.

    >>> [[piece.text for piece in place] for place in alternatives("{a,b}.{0..1}")]
    [[''], ['a', 'b'], ['.'], ['0', '1'], ['']]
    """
    slots: list[list[Piece]] = []
    end = 0
    for match in _BRACE.finditer(text):
        slots.append([_plain(text, end, match.start())])
        slots.append(_alternatives(match))
        end = match.end()
    slots.append([_plain(text, end, len(text))])
    count = prod(len(slot) for slot in slots)
    if count > MOST_BRANCHES:
        message = f"the pattern stands for {count:,} patterns; the limit is {MOST_BRANCHES:,}"
        raise SelectorError("FP142", message, 0, len(text), "use `*`, or several rules")
    return slots


def _plain(text: str, start: int, end: int) -> Piece:
    for offset in range(start, end):
        if text[offset] in "{}":
            message = "braces must be closed and cannot be nested"
            raise SelectorError("FP142", message, offset, 1, "write `{a,b}` or `{0..5}`")
    return Piece(text[start:end], start, end)


def _alternatives(match: re.Match[str]) -> list[Piece]:
    found: list[Piece] = []
    start = match.start() + 1
    for option in match[1].split(","):
        found += _option(option, start, match)
        start += len(option) + 1
    return found


def _option(option: str, start: int, brace: re.Match[str]) -> list[Piece]:
    end = start + len(option)
    if not option:
        place = (brace.start(), brace.end() - brace.start())
        raise SelectorError("FP142", "an empty alternative", *place, "remove the comma, or write a name")
    if ".." not in option:
        return [_chosen(option, start, end)]
    bounds = _RANGE.fullmatch(option)
    if bounds is None or int(bounds[1]) > int(bounds[2]):
        message = f"`{option}` is not a range of integers from low to high"
        numbers = re.findall(r"\d{1,6}", option)
        ends = sorted(map(int, numbers)) if len(numbers) == 2 else [0, 5]
        advice = f"write `{{{ends[0]}..{ends[1]}}}`; both ends are included"
        raise SelectorError("FP142", message, start, len(option), advice)
    low, high = int(bounds[1]), int(bounds[2])
    if high - low >= MOST_BRANCHES:
        raise SelectorError("FP142", "the range is too long", start, len(option), "use `*`")
    return [_chosen(str(number), start, end) for number in range(low, high + 1)]


def _chosen(text: str, start: int, end: int) -> Piece:
    return Piece(text, start, end, Choice(text, start, end))
