"""The cascade, parameter by parameter, as section 2 of the design tells it: sets of names and plain loops."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from freezeplan.inventory.records import Inventory
from tests.plan.reference_matching import meaning

BASE_RATE, BASE_DECAY = 2e-5, 0.01
NOT_PROPERTIES = ("name", "match", "except", "optional", "override")


@dataclass
class Bound:
    """One rule: the names it selects and the properties it sets (``rate`` for ``lr`` and ``lr_mult``)."""

    name: str
    names: frozenset[str]
    values: dict[str, Any]
    override: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What a spec means on a model, and what is wrong with it; ``unreadable``: a pattern is in error."""

    rules: list[Bound]
    masked: frozenset[str]
    unreadable: bool = False
    overlaps: set[tuple[str, str]] = field(default_factory=set)
    supersets: set[tuple[str, str]] = field(default_factory=set)
    uncovered: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    idle: set[tuple[str, str]] = field(default_factory=set)
    torn: set[tuple[str, str]] = field(default_factory=set)
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)


def outcome(inventory: Inventory, spec: dict[str, Any]) -> Outcome:
    """Return what a spec means on a model."""
    read = [_bound(inventory, table) for table in spec["rule"]]
    masked, wrong = _masked(inventory, spec["optimizer"]["no_decay"])
    found = Outcome([rule for rule, _ in read], masked, wrong or any(bad for _, bad in read))
    _find_collisions(found)
    names = [info.name for info in inventory.params]
    stated = {name for rule in found.rules if "state" in rule.values for name in rule.names}
    found.uncovered = set(names) - stated
    found.ends = {name: _end(found, name) for name in names}
    _find_dead(found)
    found.torn = {
        (info.alias_of, info.name)
        for info in inventory.params
        if info.alias_of and found.ends[info.alias_of] != found.ends[info.name]
    }
    return found


def _bound(inventory: Inventory, table: dict[str, Any]) -> tuple[Bound, bool]:
    match = meaning(inventory, table["match"])
    taken = meaning(inventory, table["except"]) if "except" in table else None
    left = match.names - (taken.names if taken else frozenset())
    excused = table.get("optional", False)
    wrong = any(item.fatal or (item.missed and not excused) for item in (match, taken) if item)
    wrong = wrong or bool(match.names and not left and not excused)
    values = {
        key: tuple(v) if isinstance(v, list) else v for key, v in table.items() if key not in NOT_PROPERTIES
    }
    if "lr_mult" in values:
        values["rate"] = float(Fraction(str(BASE_RATE)) * Fraction(str(values.pop("lr_mult"))))
    if "lr" in values:
        values["rate"] = values.pop("lr")
    if "weight_decay_mult" in values:
        values["weight_decay"] = float(
            Fraction(str(BASE_DECAY)) * Fraction(str(values.pop("weight_decay_mult")))
        )
    return Bound(table["name"], left, values, tuple(table.get("override", ()))), wrong


def _masked(inventory: Inventory, patterns: list[str]) -> tuple[frozenset[str], bool]:
    meanings = [(text, meaning(inventory, text)) for text in patterns]
    hit = {name for _, item in meanings for name in item.names}
    tensors = {info.alias_of or info.name for info in inventory.params if info.name in hit}
    names = frozenset(info.name for info in inventory.params if (info.alias_of or info.name) in tensors)
    return names, any(item.missed and not text.startswith("@") for text, item in meanings)


def _find_collisions(found: Outcome) -> None:
    for place, later in enumerate(found.rules):
        for earlier in found.rules[:place]:
            both = set(earlier.values) & set(later.values)
            differ = any(earlier.values[key] != later.values[key] for key in both)
            if not differ or earlier.name in later.override or not earlier.names & later.names:
                continue
            if not later.names <= earlier.names:
                kind = found.supersets if earlier.names < later.names else found.overlaps
                kind.add((earlier.name, later.name))


def candidates(found: Outcome, name: str, key: str) -> list[Bound]:
    """Return the rules that set a property of a name, in the order of the spec."""
    return [rule for rule in found.rules if key in rule.values and name in rule.names]


def most_specific(found: Outcome, name: str, key: str) -> Bound | None:
    """Return the rule with the smallest set, of equal ones the later, leaving out what is overruled."""
    rules = candidates(found, name, key)
    overruled = {
        other for place, rule in enumerate(rules) for other in rule.override if _before(rules, other, place)
    }
    left = [rule for rule in rules if rule.name not in overruled]
    return min(reversed(left), key=lambda rule: len(rule.names)) if left else None


def _before(rules: list[Bound], name: str, place: int) -> bool:
    return name in [rule.name for rule in rules[:place]]


def _end(found: Outcome, name: str) -> dict[str, Any]:
    """Return the state, rate, weight decay, betas and eval mode that a name ends with."""
    deciders = {
        key: most_specific(found, name, key)
        for key in ("state", "rate", "weight_decay", "betas", "eval_mode")
    }
    said = {key: rule.values[key] for key, rule in deciders.items() if rule}
    pierced = deciders["weight_decay"] is not None and "no_decay" in deciders["weight_decay"].override
    state = said.get("state", "frozen")
    masked = name in found.masked and not pierced
    return {
        "state": state,
        "lr": said.get("rate", BASE_RATE) if state == "trainable" else 0.0,
        "weight_decay": 0.0 if masked else said.get("weight_decay", BASE_DECAY),
        "betas": said.get("betas", (0.9, 0.999)),
        "eval_mode": said.get("eval_mode", True),
    }


def _find_dead(found: Outcome) -> None:
    for rule in found.rules:
        idle = {
            key for key in rule.values if not any(_decides(found, rule, key, name) for name in rule.names)
        }
        if rule.names and idle == set(rule.values):
            found.dead.add(rule.name)
        elif rule.names:
            found.idle |= {(rule.name, key) for key in idle}


def _decides(found: Outcome, rule: Bound, key: str, name: str) -> bool:
    hidden = key == "weight_decay" and name in found.masked and "no_decay" not in rule.override
    return candidates(found, name, key)[-1] is rule and not hidden
