"""What another tool's pattern hits: by its own words of matching, and as it was evidently meant."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import regex

QUANTIFIER = re.compile(r"\\?\.?\{(\d+),(\d+)\}")
CLASS = re.compile(r"\[(\d+)-(\d+)\]")
MOST_NUMBERS = 1000
SECONDS = 1.0
CUT = "a number is matched by some of its digits alone"


@dataclass(frozen=True)
class Hits:
    """The names that a pattern hits, ``meant`` those that it evidently should, and what differs in words."""

    literal: frozenset[str]
    meant: frozenset[str]
    slip: str = ""

    @property
    def more(self) -> frozenset[str]:
        """Names that it hits by accident."""
        return self.literal - self.meant

    @property
    def less(self) -> frozenset[str]:
        """Names that it misses by accident."""
        return self.meant - self.literal

    def of(self, meant: bool) -> frozenset[str]:
        """Return one of the two readings."""
        return self.meant if meant else self.literal


def by_substring(text: str, names: Iterable[str]) -> Hits:
    """Return what ``text in name`` hits; a number at an end of the text is meant whole."""
    return _by_places(names, lambda name: _occurrences(text, name), text)


def by_prefix(text: str, names: Iterable[str]) -> Hits:
    """Return what ``name.startswith(text)`` hits; a number at its end is meant whole."""
    return _by_places(names, lambda name: [(0, len(text))] if name.startswith(text) else [], text)


def by_regex(text: str, names: Iterable[str], *, search: bool = False, restated: str | None = None) -> Hits:
    """Return what ``re.match`` (or ``re.search``) hits.

    ``restated`` is what the tool compiles in place of the text. A number that is written out is meant whole, and
    ``{0,11}`` or ``[0-11]`` in the place of a number as the numbers from 0 to 11; what hits nothing from the beginning
    of a name is meant anywhere in it. Raises ``regex.error``, and ``TimeoutError`` after a second.
    """
    names, ranged = list(names), _with_ranges(text)
    literal = _regex_hits(text if restated is None else restated, names, search)
    if ranged is not None:
        slip = "a range of numbers is written in another way in a regular expression"
        return Hits(literal, _regex_hits(_whole_numbers(ranged), names, search), slip)
    whole = _whole_numbers(text if restated is None else restated)
    if not literal and not search and (inside := _regex_hits(whole, names, True)):
        return Hits(literal, inside, "it is matched from the beginning of a name")
    return Hits(literal, _regex_hits(whole, names, search), CUT)


def _regex_hits(text: str, names: Iterable[str], search: bool) -> frozenset[str]:
    """Return what an expression hits, in one budget of time for all names."""
    compiled = regex.compile(text, regex.VERSION0)
    run = compiled.search if search else compiled.match
    deadline, found = time.monotonic() + SECONDS, set()
    for name in names:
        if run(name, timeout=max(deadline - time.monotonic(), 1e-3)):
            found.add(name)
    return frozenset(found)


def _whole_numbers(text: str) -> str:
    """Return a regular expression in which no digit stands beside a number that is written out."""
    parts = re.split(r"(\\.|\[[^\]]*\]|\{[^}]*\})", text)
    for at in range(0, len(parts), 2):
        before = parts[at - 1][:1] if at and not re.search(r"\D", parts[at][:1] or "x") else ""
        after = (parts[at + 1] if at + 1 < len(parts) else "")[:2]
        parts[at] = re.sub(r"\d+", lambda run: _guarded(run, before, after), parts[at])  # noqa: B023
    return "".join(parts)


def _guarded(run: re.Match[str], before: str, after: str) -> str:
    """Return a run of digits with guards, but not beside what may stand for digits itself."""
    whole = run.string
    left = whole[run.start() - 1] if run.start() else before
    right = whole[run.end()] if run.end() < len(whole) else after
    start = "" if left in ("[", "]", "+", "*", "?", "}") else r"(?<!\d)"
    end = "" if right and (right[0] in "[+*?{" or right == r"\d") else r"(?!\d)"
    return f"{start}{run.group()}{end}"


def by_glob(text: str, names: Iterable[str]) -> Hits:
    """Return what ``fnmatch.fnmatchcase`` hits: ``*`` crosses dots there, and the pattern is anchored at both ends."""
    found = frozenset(name for name in names if fnmatch.fnmatchcase(name, text))
    return Hits(found, found)


def _with_ranges(text: str) -> str | None:
    """Return a regular expression in which ranges mean the numbers in them, None where there is no range."""
    found = False

    def numbers(match: re.Match[str], lead: str) -> str:
        nonlocal found
        low, high = int(match[1]), int(match[2])
        # A class of single digits says in a regular expression what it seems to say.
        if not low < high < low + MOST_NUMBERS or (high < 10 and not lead):
            return match.group()
        found = True
        return f"{lead}(?:{'|'.join(map(str, range(low, high + 1)))})"

    after = QUANTIFIER.sub(lambda match: numbers(match, r"\."), text) if "{0," in text else text
    after = CLASS.sub(lambda match: numbers(match, ""), after)
    return re.sub(r"(\(\?:0[\d|]*\))\.", r"\1\\.", after) if found else None


def _occurrences(text: str, name: str) -> Iterator[tuple[int, int]]:
    start = name.find(text)
    while start >= 0 and text:
        yield start, start + len(text)
        start = name.find(text, start + 1)


def _by_places(names: Iterable[str], places: Callable[[str], Iterable[tuple[int, int]]], text: str) -> Hits:
    literal, meant = set(), set()
    for name in names:
        for start, end in places(name):
            literal.add(name)
            if not _cuts_a_number(name, start, end, text):
                meant.add(name)
    return Hits(frozenset(literal), frozenset(meant), CUT)


def _cuts_a_number(name: str, start: int, end: int, text: str) -> bool:
    before = text[:1].isdigit() and name[:start][-1:].isdigit()
    after = text[-1:].isdigit() and name[end : end + 1].isdigit()
    return before or after
