"""How names are listed in messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MOST_NAMES = 12


def some(names: Sequence[str], most: int = 5) -> str:
    """List the first few names, and say how many more there are.

    >>> some(["a", "b", "c"], most=2)
    '`a`, `b` and 1 more'
    """
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def listed(names: Iterable[str]) -> str:
    """List names, runs of indices as ranges, at most a dozen.

    >>> listed(["0", "1", "2", "norm"])
    '`{0..2}`, `norm`'
    """
    parts = [f"`{part}`" for part in with_ranges(names)]
    shown = ", ".join(parts[:MOST_NAMES])
    return shown + (f" and {len(parts) - MOST_NAMES} more" if len(parts) > MOST_NAMES else "")


def with_ranges(names: Iterable[str]) -> list[str]:
    numbers, others = [], []
    for name in names:
        (numbers if name.isdigit() else others).append(name)
    ordered = sorted(int(number) for number in numbers)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return [f"{{{ordered[0]}..{ordered[-1]}}}", *others]
    return [*numbers, *others]
