"""Which tensors of two models are the same ones under other names, told from shapes and from what the names share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from os.path import commonprefix
from typing import Any

from freezeplan.diagnostics.wording import counted, in_quotes
from freezeplan.plan.gathering import parts_of

Record = Mapping[str, Any]
Parts = tuple[str, ...]
_Candidate = tuple[tuple[Parts, Parts, Parts], Mapping[str, str]]
NUMBER = "#"
MOST_FAMILIES = 200
"""More kinds of names than this on either side are not held against each other: every pair is looked at."""


@dataclass(frozen=True)
class Renamed:
    """A part of names that is another one on the other side: ``before`` became ``after``, behind ``prefix``.

    ``#`` stands for any number. ``names`` maps the old names to the new ones.
    """

    prefix: Parts
    before: Parts
    after: Parts
    names: Mapping[str, str]

    def line(self) -> str:
        """Say it in words."""
        rest = () if self.prefix or (self.before and self.after) else ("**",)
        sides = [".".join((*self.prefix, *part, *rest)) for part in (self.before, self.after)]
        old, new = map(in_quotes, sides)
        return f"renamed: {old} -> {new} ({counted(len(self.names), 'tensor')} of the same shapes)"

    def path(self, path: str) -> str:
        """Return a module's path, or a pattern with numbers in ranges, under its new name."""
        if not path:
            return path
        known, parts = (*self.prefix, *self.before), parts_of(path)
        pairs = list(zip(known, parts, strict=False))
        if len(pairs) < len(known) or not all(name in (part, NUMBER) for name, part in pairs):
            return path
        start = len(self.prefix)
        numbers = iter([part for name, part in pairs[start:] if name == NUMBER])
        after = [next(numbers) if part == NUMBER else part for part in self.after]
        return ".".join((*parts[:start], *after, *parts[len(known) :]))


def moved_paths(paths: Iterable[str], renamed: Sequence[Renamed]) -> list[str]:
    """Return the paths of modules under their new names, sorted, without those inside a part that was renamed.

    What is inside has no counterpart: of `a.b` that became `c` nothing says what `a` is now.
    """
    closest = sorted(renamed, key=lambda item: -len((*item.prefix, *item.before)))
    kept = outside(paths, [(item.prefix, item.before, not item.after) for item in renamed])
    return sorted(next((new for item in closest if (new := item.path(path)) != path), path) for path in kept)


def outside(paths: Iterable[str], inside: Sequence[tuple[Parts, Parts, bool]]) -> list[str]:
    """Return the paths, sorted, that end in none of the parts of names.

    Each is given by what is before it, the part, and whether its own end, too, is nothing on the other side.
    """
    return sorted(path for path in paths if not any(_ends_in(path, *item) for item in inside))


def _ends_in(path: str, prefix: Parts, part: Parts, whole: bool) -> bool:
    found = parts_of(path)
    alike = all(name in (own, NUMBER) for name, own in zip((*prefix, *part), found, strict=False))
    return alike and bool(path) and len(prefix) < len(found) < len(prefix) + len(part) + whole


@dataclass(frozen=True)
class _Family:
    """Names that differ in their numbers alone: by these, the name and what must be alike."""

    parts: Parts
    members: Mapping[Parts, tuple[str, Any]]


def find_renames(gone: Mapping[str, Record], new: Mapping[str, Record]) -> tuple[Renamed, ...]:
    """Return the renamings that carry tensors of one model over to those of another, the largest first.

    ``gone`` and ``new`` are the rows of the names that only one side has. Two names go together when shape and
    number format are equal, and so are their numbers; a part of names is taken to be renamed where it carries the
    most tensors over, and the parts' spelling decides between equals. Where nothing decides, nothing is said.
    """
    families = [_families(rows) for rows in (gone, new)]
    if max(map(len, families)) > MOST_FAMILIES:
        return ()
    ranked: dict[tuple[float, ...], list[_Candidate]] = defaultdict(list)
    for key, pairs in _candidates(*families).items():
        ranked[_rank(key, pairs)].append((key, pairs))
    found: list[Renamed] = []
    used: set[str] = set()
    for rank in sorted(ranked):
        equals = sorted((key, pairs) for key, pairs in ranked[rank] if _is_free(pairs, used))
        for key, pairs in equals:
            if not any(_competes(rival, pairs) for other, rival in equals if other != key):
                found.append(Renamed(*key, pairs))
        used |= {name for item in found for pair in item.names.items() for name in _both(pair)}
    return tuple(found)


def _both(pair: tuple[str, str]) -> tuple[str, str]:
    """Return an old and a new name so that no old one is ever taken for a new one."""
    return f"< {pair[0]}", f"> {pair[1]}"


def _is_free(pairs: Mapping[str, str], used: set[str]) -> bool:
    return not any(name in used for pair in pairs.items() for name in _both(pair))


def _competes(rival: Mapping[str, str], pairs: Mapping[str, str]) -> bool:
    return bool(rival.keys() & pairs.keys() or set(rival.values()) & set(pairs.values()))


def _families(rows: Mapping[str, Record]) -> dict[Parts, _Family]:
    found: dict[Parts, dict[Parts, tuple[str, Any]]] = defaultdict(dict)
    for name, row in rows.items():
        parts = name.split(".")
        numbers = tuple(part for part in parts if part.isdecimal())
        pattern = tuple(NUMBER if part.isdecimal() else part for part in parts)
        found[pattern][numbers] = (name, (row["shape"], row["dtype"]))
    return {parts: _Family(parts, members) for parts, members in found.items()}


def _candidates(
    old: Mapping[Parts, _Family], new: Mapping[Parts, _Family]
) -> dict[tuple[Parts, Parts, Parts], dict[str, str]]:
    found: dict[tuple[Parts, Parts, Parts], dict[str, str]] = defaultdict(dict)
    for one in old.values():
        for other in new.values():
            pairs = dict(_pairs(one, other))
            if pairs:
                found[_middle(one.parts, other.parts)].update(pairs)
    return found


def _pairs(one: _Family, other: _Family) -> Iterator[tuple[str, str]]:
    """Yield the names with equal numbers; none where one of them has another shape."""
    shared = one.members.keys() & other.members.keys()
    if all(one.members[key][1] == other.members[key][1] for key in shared):
        yield from ((one.members[key][0], other.members[key][0]) for key in sorted(shared))


def _middle(one: Parts, other: Parts) -> tuple[Parts, Parts, Parts]:
    """Return what two names begin with, and what of each is left between that and their common end."""
    start = len(commonprefix([one, other]))
    end = len(commonprefix([one[start:][::-1], other[start:][::-1]]))
    return one[:start], one[start : len(one) - end], other[start : len(other) - end]


def _rank(key: tuple[Parts, Parts, Parts], pairs: Mapping[str, str]) -> tuple[float, ...]:
    """Return what decides between renamings, the best first: how many, then how alike the parts are spelled.

    Where all else is equal, the beginnings of their last words decide: of `k_proj` and `v_proj` the first is `key`.
    """
    _, before, after = key
    old, new = ".".join(before), ".".join(after)
    start = len(commonprefix([old, new]))
    last = len(commonprefix([part[-1] if part else "" for part in (before, after)]))
    return (-len(pairs), -start, -round(SequenceMatcher(None, old, new).ratio(), 3), -last)
