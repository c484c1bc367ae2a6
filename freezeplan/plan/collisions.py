"""Refine freely, collide loudly: which pairs of rules contradict each other, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import some
from freezeplan.plan import masks
from freezeplan.plan.binding import BoundRule, tensors_in
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import at_key
from freezeplan.spec.tables import Table


@dataclass
class Collision:
    """Two rules that set properties to different values on sets of which neither refines the other."""

    earlier: BoundRule
    later: BoundRule
    shared: int
    superset: bool
    keys: list[str] = field(default_factory=list)


def collisions(tree: NameTree, rules: Sequence[BoundRule]) -> list[Diagnostic]:
    """Report every pair of rules of one layer that collides, once for all properties it collides in."""
    found: dict[tuple[int, int], Collision] = {}
    used: set[tuple[int, str]] = set()
    for key in dict.fromkeys(key for rule in rules for key in rule.settings):
        for pair in _contradictions([rule for rule in rules if key in rule.settings], key):
            if pair.later.overrides(pair.earlier.label):
                used.add((pair.later.index, pair.earlier.label))
                continue
            found.setdefault((pair.earlier.index, pair.later.index), pair).keys.append(key)
    idle = _idle_overrides(rules, used)
    return [_describe(tree, pair) for pair in found.values()] + idle


def _contradictions(rules: Sequence[BoundRule], key: str) -> Iterator[Collision]:
    for position, later in enumerate(rules):
        for earlier in rules[:position]:
            if earlier.settings[key].value == later.settings[key].value:
                continue
            shared = earlier.mask & later.mask
            if shared and shared != later.mask:
                yield Collision(earlier, later, shared, superset=shared == earlier.mask)


def _describe(tree: NameTree, pair: Collision) -> Diagnostic:
    earlier, later = pair.earlier, pair.later
    values = "; ".join(
        f"`{earlier.settings[key].key}`: {_value(earlier, key)} and {_value(later, key)}" for key in pair.keys
    )
    names = [info.name for info in tensors_in(tree, pair.shared)]
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
    return f"at {rule.place}" if rule.place else f"rule {int(rule.path[1]) + 1}"


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
