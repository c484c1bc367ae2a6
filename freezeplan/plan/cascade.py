"""The cascade: for each property and each name, the rule that decides it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from freezeplan.plan import masks
from freezeplan.plan.binding import BoundRule

NOBODY = -1


@dataclass(frozen=True)
class Cascade:
    """For each property, the index of the deciding rule at each tree position (-1: no rule)."""

    winners: dict[str, list[int]]
    size: int

    def at(self, position: int) -> tuple[tuple[str, int], ...]:
        """Return the decided properties of one name as (property, rule index) pairs."""
        return tuple(
            (key, rules[position]) for key, rules in self.winners.items() if rules[position] != NOBODY
        )

    def signatures(self) -> Iterator[tuple[int, ...]]:
        """Yield the deciding rules of each name, in tree order, properties in the order of ``winners``."""
        if not self.winners:
            return iter([()] * self.size)
        return zip(*self.winners.values(), strict=True)


def cascade(rules: Sequence[BoundRule], size: int) -> Cascade:
    """Let the last rule that sets a property decide it.

    Whether a rule *may* decide is checked apart (``plan/collisions.py``); once nothing collides, the
    last one is the most specific one, or one that was told to override.
    """
    properties = dict.fromkeys(key for rule in rules for key in rule.settings)
    return Cascade({key: _winners(rules, key, size) for key in properties}, size)


def _winners(rules: Sequence[BoundRule], key: str, size: int) -> list[int]:
    decided = [NOBODY] * size
    left = masks.full_mask(size)
    for rule in reversed(rules):
        if key not in rule.settings:
            continue
        for position in masks.positions_of(rule.mask & left, size):
            decided[position] = rule.index
        left &= ~rule.mask
    return decided
