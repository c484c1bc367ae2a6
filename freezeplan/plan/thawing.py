"""What each tensor goes through over the phases: thawed, frozen again, its optimizer state kept or dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class ThawHistory:
    """The phases (by index) in which a tensor thaws, is frozen again, holds state, and gives it up."""

    thaws: frozenset[int]
    refreezes: frozenset[int]
    holds_state: frozenset[int]
    drops: frozenset[int]


def histories(trained: Sequence[Sequence[bool]], resets: Sequence[bool]) -> list[ThawHistory]:
    """Return the history of each tensor.

    ``trained`` says for each tensor in which phases it trains, ``resets`` for each phase whether it begins
    with fresh optimizer state for what it thaws. State is given up when a tensor is frozen, unless a later
    phase thaws it and keeps the state: nothing is held that is not used again.

    >>> histories([[True, False, True]], [False, False, False])[0].drops
    frozenset()
    >>> histories([[True, False, True]], [False, False, True])[0].drops
    frozenset({1})
    """
    return [_history(tuple(row), tuple(resets)) for row in trained]


@lru_cache(maxsize=4096)
def _history(row: tuple[bool, ...], resets: tuple[bool, ...]) -> ThawHistory:
    count = len(row)
    thaws = frozenset(at for at in range(1, count) if row[at] and not row[at - 1])
    refreezes = frozenset(at for at in range(1, count) if row[at - 1] and not row[at])
    drops = frozenset(at for at in refreezes if _gives_up(row, resets, at))
    return ThawHistory(thaws, refreezes, _holding(row, drops), drops)


def _gives_up(row: tuple[bool, ...], resets: tuple[bool, ...], frozen_at: int) -> bool:
    again = next((at for at in range(frozen_at, len(row)) if row[at]), None)
    return again is None or resets[again]


def _holding(row: tuple[bool, ...], drops: frozenset[int]) -> frozenset[int]:
    held, found = False, set()
    for at, trains in enumerate(row):
        held = trains or (held and at not in drops)
        if held:
            found.add(at)
    return frozenset(found)
