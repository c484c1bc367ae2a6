"""Many names in few patterns: whole modules by their path, runs of numbers as ``{0..11}``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby, product

MARKS = frozenset("{},*")
EVERYTHING = "**"
PARTS = re.compile(r"\{\d+\.\.\d+\}|[^.]+")
RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")


def gathered(names: Collection[str], among: Iterable[str]) -> tuple[str, ...]:
    """Return patterns that select exactly these of a model's names, few and in the order of the names.

    A module all of whose names ``among`` the model's are meant stands for them, neighbouring numbers for one
    another.

    >>> names = [f"layer.{i}.{part}" for i in range(3) for part in ("w", "b")] + ["head.w", "head.b"]
    >>> gathered(names[:4] + ["head.w"], names)
    ('layer.{0..1}', 'head.w')
    """
    wanted = set(names)
    whole = _whole_modules(wanted, among)
    return with_ranges(dict.fromkeys(_topmost(name, whole) for name in names))


def with_ranges(names: Iterable[str]) -> tuple[str, ...]:
    """Return names with those that differ in one number alone as one, where the numbers follow each other.

    Names that hold a mark of the pattern language stay as they are.

    >>> with_ranges(["a.0.w", "a.1.w", "a.0.b", "a.1.b", "a.3.b"])
    ('a.{0..1}.w', 'a.{0..1}.b', 'a.3.b')
    """
    rows = [tuple(parts_of(name)) for name in names]
    # From the innermost number outward: experts of a layer first, then the layers that have alike ones.
    for place in range(max(map(len, rows), default=0) - 1, -1, -1):
        rows = _joined(rows, place)
    return tuple(map(".".join, rows))


def parts_of(pattern: str) -> list[str]:
    """Return the segments of a name, or of a pattern with ranges.

    >>> parts_of("a.{0..11}.w")
    ['a', '{0..11}', 'w']
    """
    return PARTS.findall(pattern) if "{" in pattern else pattern.split(".")


def without_ranges(patterns: Iterable[str]) -> list[str]:
    """Return the names that :func:`with_ranges` gave as patterns.

    >>> without_ranges(["a.{0..1}.w", "b"])
    ['a.0.w', 'a.1.w', 'b']
    """
    return [".".join(parts) for pattern in patterns for parts in product(*map(_numbers, parts_of(pattern)))]


def _numbers(part: str) -> list[str]:
    found = RANGE.fullmatch(part)
    return [str(number) for number in range(int(found[1]), int(found[2]) + 1)] if found else [part]


def without_inner(paths: Collection[str]) -> list[str]:
    """Return the paths that lie below no other one of them.

    >>> without_inner(["a", "a.b", "ab"])
    ['a', 'ab']
    """
    known = set(paths)
    return [path for path in paths if not known & set(_above(path))]


def _whole_modules(wanted: set[str], among: Iterable[str]) -> set[str]:
    """Return the paths below which everything is wanted; ``""`` where that is the whole model."""
    whole: set[str] = set()
    broken: set[str] = set()
    for name in among:
        (whole if name in wanted else broken).update(_above(name))
    return whole - broken


def _above(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts))]


def _topmost(name: str, whole: set[str]) -> str:
    found = next((path for path in _above(name) if path in whole), name)
    return found or EVERYTHING


def _joined(rows: Sequence[tuple[str, ...]], place: int) -> list[tuple[str, ...]]:
    """Join the rows that are alike but for the number at one place."""
    families: dict[tuple[str, ...], list[int]] = {}
    order: list[tuple[str, ...]] = []
    for row in rows:
        number = _number(row, place)
        key = row if number is None else (*row[:place], "", *row[place + 1 :])
        if key not in families:
            order.append(key)
        families.setdefault(key, []).extend([] if number is None else [number])
    return [row for key in order for row in _runs(key, place, families[key])]


def _number(row: Sequence[str], place: int) -> int | None:
    text = row[place] if place < len(row) else ""
    plain = text.isascii() and text.isdecimal() and len(text) < 10 and str(int(text)) == text
    return int(text) if plain and not any(MARKS & set(part) for part in row[: place + 1]) else None


def _runs(key: tuple[str, ...], place: int, numbers: list[int]) -> list[tuple[str, ...]]:
    if not numbers:
        return [key]
    pairs = enumerate(sorted(set(numbers)))
    runs = [[number for _, number in run] for _, run in groupby(pairs, lambda pair: pair[1] - pair[0])]
    return [(*key[:place], _text(run), *key[place + 1 :]) for run in runs]


def _text(run: list[int]) -> str:
    return str(run[0]) if len(run) == 1 else f"{{{run[0]}..{run[-1]}}}"
