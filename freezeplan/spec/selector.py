"""The selector grammar: from a pattern's text to segments that know where they stand in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from freezeplan.diagnostics import Fix
from freezeplan.diagnostics.wording import closest, one_slip_away, quoted
from freezeplan.spec.braces import Choice, Piece, alternatives
from freezeplan.spec.quoting import FILLER, without_quoted
from freezeplan.spec.regexes import check_regex
from freezeplan.spec.selector_error import SelectorError
from freezeplan.spec.shapes import parse_shape

ROLES = (
    "backbone", "heads", "embeddings", "layers", "stages", "pooler", "final_norm", "norm", "bias", "tied",
    "experts", "router", "adapters", "params",
)  # fmt: skip

LONGEST = 50_000
REGEX = "`re:` in front of a regular expression"
ODD = {
    "?": "`*` stands for one segment or part of one",
    "/": "separate segments by dots",
    "\\": f"write a dotted path such as `encoder.layer.0`, or {REGEX}",
}
WANTED = {
    "class": "the name of a class",
    "re": "an expression",
    "shape": "what a tensor is like, such as `1d`",
}
ORDERED = ("layers", "stages", "params")

_ROLE = re.compile(r"@(?P<name>[A-Za-z_]*)(?:\[(?P<slice>[^\]]*)\])?")
_BOUND = re.compile(r"(?P<number>-?\d{1,9}|\d{1,3}(\.\d{1,9})?(?P<percent>%))?")
_ODD_TEXT = re.compile(r"[\s?/\\]")
# What means something in a pattern or an expression, or would end the quotes: a dot after a backslash ends no name.
_NO_NAME = re.compile(r"[\\'\"*@{}\[\]]")
_CHARACTER_CLASS = re.compile(r"\[(\d+)[-:](\d+)\]")


@dataclass(frozen=True)
class Bound:
    """One end of a slice: an index, or a share of the stack in percent."""

    number: int | Fraction
    percent: bool = False

    def resolve(self, length: int) -> int:
        """Return the position in a stack of ``length`` layers; shares round down.

        >>> Bound(50, percent=True).resolve(5), Bound(-2).resolve(12)
        (2, 10)
        """
        if self.percent:
            return int(length * self.number // 100)
        return int(self.number + length if self.number < 0 else self.number)


@dataclass(frozen=True)
class Slice:
    """Select layers of a stack: one index, or from ``start`` up to but not including ``stop``."""

    start: Bound | None
    stop: Bound | None
    single: bool = False


@dataclass(frozen=True)
class Segment:
    """One dot-separated part of a pattern: a glob (``text``), or a role (``role``, maybe ``cut``).

    ``start`` and ``end`` delimit in the pattern's text what a caret points at; ``choices`` are the
    brace alternatives that this form of the segment took. ``literal``: it was quoted, and is no glob.
    """

    text: str
    start: int
    end: int
    role: str | None = None
    cut: Slice | None = None
    choices: tuple[Choice, ...] = ()
    literal: bool = False

    @property
    def deep(self) -> bool:
        """Whether this is ``**``: any number of segments."""
        return self.text == "**" and not self.literal

    @property
    def glob(self) -> bool:
        """Whether a ``*`` in it stands for other characters."""
        return "*" in self.text and not self.literal


@dataclass(frozen=True)
class Selector:
    """A parsed pattern.

    ``kind`` is ``path`` (``branches``: the brace-free alternatives, each a sequence of segments),
    ``class``, ``shape`` or ``regex`` (``value``: what follows the prefix).
    """

    text: str
    kind: str
    branches: tuple[tuple[Segment, ...], ...] = ()
    value: str = ""


@lru_cache(maxsize=64)
def parse_selector(text: str) -> Selector:
    """Parse one pattern.

    Returns the selector; raises :class:`SelectorError` with the place and a suggestion.

    >>> [[s.text for s in b] for b in parse_selector("layer.{0..1}.*").branches]
    [['layer', '0', '*'], ['layer', '1', '*']]
    """
    if len(text) > LONGEST:
        message = f"a pattern of {len(text):,} characters; the limit is {LONGEST:,}"
        raise SelectorError("FP140", message, 0, len(text), "use `*` or a role, or write several rules")
    for kind in WANTED:
        if text.startswith(kind + ":"):
            return _prefixed(text, kind)
    plain, quoted_names = without_quoted(text)
    _refuse_odd_text(plain)
    branches = _branches(plain)
    if quoted_names:
        branches = tuple(tuple(_literal(branch, quoted_names)) for branch in branches)
    return Selector(text, "path", branches)


def _literal(branch: tuple[Segment, ...], names: dict[int, str]) -> Iterator[Segment]:
    """Put what was quoted in its place; a name with dots in it stands where its parts stand in the tree."""
    for segment in branch:
        if not segment.text.startswith(FILLER):
            yield segment
            continue
        for part in names[segment.start].split("."):
            yield Segment(part, segment.start, segment.end, literal=True)


def _prefixed(text: str, kind: str) -> Selector:
    value = text.partition(":")[2]
    if not value:
        raise SelectorError(
            "FP140", f"`{text}` names nothing", 0, len(text), f"write `{kind}:` and {WANTED[kind]}"
        )
    if kind == "re":
        check_regex(value, len("re:"))
        return Selector(text, "regex", value=value)
    if kind == "shape":
        parse_shape(value, len("shape:"))
    return Selector(text, kind, value=value)


def _as_list(text: str) -> str | None:
    """Say how several patterns are written, where a text is several; None where it is one."""
    parts = [part for part in re.split(r"[\s,;|&]+", text) if part]
    if (
        len(parts) < 2
        or "{" in text
        or not all(re.fullmatch(r"@?[\w.*@-]+(\[[^\]]*\])?", part) for part in parts)
    ):
        return None
    return f"write a list: [{', '.join(f'{chr(34)}{part}{chr(34)}' for part in parts)}]"


def _refuse_odd_text(text: str) -> None:
    if not text:
        raise SelectorError("FP140", "the pattern is empty", 0, 1, 'write "**" for every parameter')
    if match := _ODD_TEXT.search(text):
        help_ = _as_list(text) or ODD.get(match.group(), "write a dotted path such as `encoder.layer.0`")
        name = _in_quotes(text, match.start())
        help_ += f"; a name that holds it is written in quotes: `{name}`" if name else ""
        raise SelectorError(
            "FP140", f"`{match.group()}` has no meaning in a pattern", match.start(), 1, help_
        )


def _in_quotes(text: str, place: int) -> str | None:
    """Return a pattern with the segment at a place in quotes; None where quotes would change more than that."""
    start, end = text.rfind(".", 0, place) + 1, text.find(".", place)
    end = end if end >= 0 else len(text)
    if _NO_NAME.search(text[start:end]) or FILLER in text:
        return None
    return f"{text[:start]}'{text[start:end]}'{text[end:]}"


# The segments of the beginning of a form, and the parts of the segment that has not ended yet.
_Start = tuple[tuple[Segment, ...], tuple[Piece, ...]]


def _branches(text: str) -> tuple[tuple[Segment, ...], ...]:
    """Return the segments of each form of a pattern; forms that begin alike share that work."""
    made: dict[tuple[int, ...], Segment] = {}

    def segment(parts: tuple[Piece, ...]) -> Segment:
        key = tuple(map(id, parts))
        if key not in made:
            made[key] = _segment(text, parts)
        return made[key]

    def grown(start: _Start, head: Piece, rest: list[Piece]) -> _Start:
        done, parts = start[0], (*start[1], head)
        for part in rest:
            done, parts = (*done, segment(parts)), (part,)
        return done, parts

    starts: list[_Start] = [((), ())]
    kept = []
    for pieces in alternatives(text):
        split = [_split_dots(piece) for piece in pieces]
        # The keys above are identities: what they belong to must live as long.
        kept.append(split)
        starts = [grown(start, head, rest) for start in starts for head, *rest in split]
    return tuple((*done, segment(parts)) for done, parts in starts)


def _split_dots(piece: Piece) -> list[Piece]:
    """Split at dots, but not inside the brackets of a role's slice."""
    found, start = [], 0
    for match in re.finditer(r"\[[^\[\]]*\]|\.", piece.text):
        if match.group() == ".":
            found.append(piece.part(start, match.start()))
            start = match.end()
    return [*found, piece.part(start, len(piece.text))]


def _segment(text: str, parts: Sequence[Piece]) -> Segment:
    whole = "".join(part.text for part in parts)
    chosen = [part for part in parts if part.choice]
    start = chosen[-1].start if chosen else parts[0].start
    end = chosen[-1].end if chosen else parts[-1].end
    if not whole:
        is_regex = ".*" in text and text.startswith((".*", "^", "("))
        advice = f"write `**` for any depth, or {REGEX}" if is_regex else "remove the extra dot"
        raise SelectorError("FP140", "an empty segment", min(start, len(text) - 1), 1, advice)
    if whole.startswith("@"):
        return _role(text, whole, start, end)
    _check_glob(whole, start, end)
    return Segment(whole, start, end, choices=tuple(part.choice for part in chosen if part.choice))


def _check_glob(whole: str, start: int, end: int) -> None:
    if "[" in whole or "]" in whole:
        advice, meant = _braces_for(whole), _CHARACTER_CLASS.sub(r"{\1..\2}", whole)
        fix = Fix(whole, meant) if "[" not in meant else None
        raise SelectorError("FP141", "`[…]` is not a character class", start, end - start, advice, fix)
    if "**" in whole and whole != "**":
        raise SelectorError(
            "FP140", "`**` must be a segment of its own", start, end - start, "write `**.` before a name"
        )
    if "@" in whole:
        raise SelectorError("FP140", "`@` begins a role", start, end - start, "put a dot before the role")


def _braces_for(whole: str) -> str:
    """Say how what stands in brackets is written in braces."""
    if match := _CHARACTER_CLASS.search(whole):
        return f"write `{{{match[1]}..{match[2]}}}` for the numbers"
    match = re.search(r"\[(\w+(?:,\s*\w+)*)\]", whole)
    if match is None:
        return (
            f"write `{{a,b}}` for alternatives; a name that holds brackets is written in quotes: `'{whole}'`"
        )
    parts = re.split(r",\s*", match[1]) if "," in match[1] else list(match[1])
    advice = (
        f"write `{{{','.join(parts)}}}` for alternatives" if len(parts) > 1 else f"write `{parts[0]}` alone"
    )
    return f"{advice}; a name that holds brackets is written in quotes: `'{whole}'`"


def _role(text: str, whole: str, start: int, end: int) -> Segment:
    match = _ROLE.fullmatch(whole)
    name = match["name"] if match else whole[1:].partition("[")[0]
    if name not in ROLES:
        known = "the roles are " + quoted(f"@{role}" for role in ROLES)
        raise SelectorError(
            "FP143",
            f"no role `@{name}`",
            start,
            end - start,
            _as_list(text)
            or closest(name, ROLES, shape="`@{}`")
            or f"{known}; a name that begins with `@` is written in quotes: `'{whole}'`",
            Fix(whole, whole.replace(name, meant, 1)) if (meant := one_slip_away(name, ROLES)) else None,
        )
    if match is None:
        raise SelectorError(
            "FP144", "this role's slice is not closed", start, end - start, "write `@layers[:3]`"
        )
    cut = _slice(match["slice"], name, start, end) if match["slice"] is not None else None
    return Segment(whole, start, end, name, cut)


def _slice(body: str, role: str, start: int, end: int) -> Slice:
    if role not in ORDERED:
        advice = "only `@layers`, `@stages` and `@params` have an order"
        raise SelectorError("FP144", f"`@{role}` takes no slice", start, end - start, advice)
    bounds = [_bound(part.strip()) for part in body.split(":")]
    if any(bound is False for bound in bounds) or len(bounds) > 2 or not body.strip():
        advice = "write `[:3]`, `[-2:]`, `[4]` or `[:50%]`"
        raise SelectorError("FP144", f"`[{body}]` is not a slice of layers", start, end - start, advice)
    if role == "params" and (len(bounds) == 1 or any(bound and not bound.percent for bound in bounds)):
        message = f"`[{body}]` is not a share of the parameters"
        raise SelectorError(
            "FP144", message, start, end - start, "write `@params[50%:]` or `@params[:87.5%]`"
        )
    if len(bounds) == 1:
        return Slice(bounds[0] or None, None, single=True)
    return Slice(bounds[0] or None, bounds[1] or None)


def _bound(text: str) -> Bound | None | bool:
    match = _BOUND.fullmatch(text)
    if match is None:
        return False
    if not text:
        return None
    percent = match["percent"] is not None
    number = Fraction(text.rstrip("%")) if "." in text else int(text.rstrip("%"))
    return False if percent and number > 100 else Bound(number, percent)
