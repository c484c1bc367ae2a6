"""Refine freely, collide loudly: which pairs of rules contradict each other, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.capping import Flood
from freezeplan.diagnostics.wording import some
from freezeplan.plan import masks
from freezeplan.plan.binding import BoundRule, tensors_in
from freezeplan.plan.cascade import NOBODY
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import at_key, dotted
from freezeplan.spec.tables import Table


@dataclass
class Collision:
    """Two rules that set properties to different values on sets of which neither refines the other."""

    earlier: BoundRule
    later: BoundRule
    superset: bool
    keys: list[str]


def collisions(tree: NameTree, rules: Sequence[BoundRule]) -> list[Diagnostic]:
    """Report every pair of rules of one layer that collides, once for all properties it collides in.

    Of a flood the first are made, and the others counted.
    """
    flood = Flood()
    used: set[tuple[int, str]] = set()
    laid = {
        key: Laid(key, tree.size) for key in dict.fromkeys(key for rule in rules for key in rule.settings)
    }
    for later in rules:
        for earlier, keys in _against(later, laid):
            if later.rule.override and later.overrides(earlier.label):
                used.add((later.index, earlier.label))
                continue
            superset = masks.inside(earlier.mask, later.mask)
            if flood.has_room(superset):
                flood.add(superset, _describe(tree, Collision(earlier, later, superset, keys)))
            else:  # not `take`: half a million times, a call costs
                flood.count(superset, 1)
    return flood.findings() + _idle_overrides(rules, used)


def _against(later: BoundRule, laid: Mapping[str, Laid]) -> list[tuple[BoundRule, list[str]]]:
    """Lay down a rule; return the earlier ones that it collides with, each with the properties it does so in."""
    pairs: dict[int, tuple[BoundRule, list[str]]] = {}
    for key in later.settings:
        for earlier in laid[key].lay(later):
            pairs.setdefault(earlier.index, (earlier, []))[1].append(key)
    return [pairs[index] for index in sorted(pairs)]


class Laid:
    """The rules laid down so far that set one property, alike ones (one set, one value) together.

    As long as each rule lies inside the one below it, or apart from all, no two can collide; then the rule on
    top of each name tells, and the others need not be looked at.
    """

    def __init__(self, key: str, size: int) -> None:
        self.key = key
        self.size = size
        self.nested = True
        self.top: list[int] = [NOBODY] * size
        self.kinds: dict[tuple[int, Any], list[BoundRule]] = {}
        self.count = 0

    def lay(self, later: BoundRule) -> list[BoundRule]:
        """Lay a rule on top; return the earlier ones that it contradicts without refining them."""
        value = later.settings[self.key].value
        nested = self.nested and self._is_inside(later)
        found = [] if nested else self._contradicted(later.mask, value)
        self.kinds.setdefault((later.mask, value), []).append(later)
        self.nested = nested
        return found

    def _is_inside(self, later: BoundRule) -> bool:
        """Put the rule on top; tell whether one rule, or none, was on top of all of its names."""
        below = set()
        for position in masks.positions_of(later.mask, self.size):
            below.add(self.top[position])
            self.top[position] = self.count
        self.count += 1
        return len(below) <= 1

    def _contradicted(self, mask: int, value: Any) -> list[BoundRule]:
        return [
            rule
            for (other, its), rules in self.kinds.items()
            if (shared := other & mask) and shared != mask and its != value
            for rule in rules
        ]


def _describe(tree: NameTree, pair: Collision) -> Diagnostic:
    earlier, later = pair.earlier, pair.later
    values = "; ".join(
        f"`{earlier.settings[key].key}`: {_value(earlier, key)} and {_value(later, key)}" for key in pair.keys
    )
    names = [info.name for info in tensors_in(tree, earlier.mask & later.mask)]
    notes = [f"`{earlier.name}` is {_place(earlier)}", f"both select {some(names)}"]
    if pair.superset:
        message = (
            f"rule `{later.name}` takes in all of the earlier `{earlier.name}` and contradicts it ({values})"
        )
        advice = f'move it above `{earlier.name}`, or write override = ["{earlier.label}"]'
        return at_key((*later.path, "match"), "FP303", message, help=advice, notes=notes)
    message = f"rules `{earlier.name}` and `{later.name}` overlap and disagree ({values})"
    advice = f'make one lie inside the other, use `except`, or write override = ["{earlier.label}"]'
    return at_key((*later.path, "match"), "FP302", message, help=advice, notes=notes)


def _value(rule: BoundRule, key: str) -> str:
    value = getattr(rule.rule, rule.settings[key].key)
    return str(value.model_dump(exclude_unset=True) if isinstance(value, Table) else value)


def _place(rule: BoundRule) -> str:
    return f"at {rule.place}" if rule.place else f"`{dotted(rule.path)}`"


def _idle_overrides(rules: Sequence[BoundRule], used: set[tuple[int, str]]) -> list[Diagnostic]:
    found = []
    for rule in rules:
        for entry, name in enumerate(rule.rule.override or ()):
            if name != "no_decay" and (rule.index, name) not in used:
                message = f"there is nothing to override: `{rule.name}` and `{name}` do not collide"
                place = (*rule.path, "override", entry)
                found.append(at_key(place, "FP306", message, help="remove the entry", within=(0, len(name))))
    return found


def idle_piercing(rules: Sequence[BoundRule], masked: int) -> list[Diagnostic]:
    """Warn of each `override = ["no_decay"]` that pierces nothing: no weight decay set, or none masked."""
    found = []
    for rule in rules:
        if rule.overrides("no_decay") and not ("weight_decay" in rule.settings and rule.mask & masked):
            entry = list(rule.rule.override or ()).index("no_decay")
            message = (
                f"`{rule.name}` sets no weight decay that `no_decay` masks: there is nothing to override"
            )
            place = (*rule.path, "override", entry)
            found.append(
                at_key(place, "FP306", message, help="remove the entry", within=(0, len("no_decay")))
            )
    return found


def covered(rules: Sequence[BoundRule]) -> int:
    """Return the set of names whose state some rule sets."""
    union = masks.EMPTY
    for rule in rules:
        if "state" in rule.settings:
            union |= rule.mask
    return union
