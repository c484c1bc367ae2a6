"""Why one parameter is treated as it is: every rule that touched it, and which won."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from freezeplan.diagnostics import DiagnosticError, Span, diagnostic, in_file_order
from freezeplan.inventory.records import Inventory, ParamInfo
from freezeplan.plan.binding import BoundRule
from freezeplan.plan.compiling import resolve
from freezeplan.plan.records import Assignment
from freezeplan.plan.resolution import Resolution
from freezeplan.spec.tables import Spec, Table


@dataclass(frozen=True)
class Touch:
    """One property that one rule set on the parameter: what was written, whether it won, and why."""

    rule: str
    place: Span | None
    property: str
    value: Any
    won: bool
    reason: str


@dataclass(frozen=True)
class Why:
    """All that decided one parameter.

    ``asked`` is the name that was asked for, ``param`` the record of that name, ``names`` all names of
    the tensor. ``touches`` come in the order of the spec.
    """

    asked: str
    param: ParamInfo
    names: tuple[str, ...]
    assignment: Assignment
    touches: tuple[Touch, ...]
    notes: tuple[str, ...]


def explain(inventory: Inventory, spec: Spec, name: str) -> Why:
    """Return why a parameter ends as it does, whichever of its names is given.

    Raises :class:`freezeplan.DiagnosticError` for an unknown name, and for a spec that does not compile.
    """
    resolution = resolve(inventory, spec)
    if any(item.is_error for item in resolution.problems):
        raise DiagnosticError(in_file_order(resolution.problems))
    info = _find(inventory, name)
    position = next(p for p, index in enumerate(resolution.tree.order) if inventory.params[index] is info)
    canonical = info.alias_of or info.name
    names = tuple(other.name for other in inventory.params if (other.alias_of or other.name) == canonical)
    what = resolution.assignments[position]
    touches = tuple(
        touch for rule in _touching(resolution, position) for touch in _touches(resolution, rule, position)
    )
    return Why(name, info, names, what, touches, tuple(_notes(resolution, info, what, names)))


def _find(inventory: Inventory, name: str) -> ParamInfo:
    by_name = {info.name: info for info in inventory.params}
    found = by_name.get(name) or by_name.get(f"{inventory.base}.{name}")
    if found is None:
        below = [known for known in by_name if f".{known}".find(f".{name}.") >= 0]
        offer = below[:3] or _close(name, list(by_name))
        advice = "did you mean " + ", ".join(f"`{known}`" for known in offer) + "?" if offer else None
        raise DiagnosticError([diagnostic("FP213", f"the model has no parameter `{name}`", help=advice)])
    return found


def _close(name: str, known: list[str]) -> list[str]:
    """Return names that are close as a whole, or in as many last segments as were asked for."""
    depth = name.count(".") + 1
    tails = {".".join(path.split(".")[-depth:]): path for path in reversed(known)}
    ends = [tails[tail] for tail in difflib.get_close_matches(name, tails, 3, 0.8)]
    return ends or difflib.get_close_matches(name, known, 3, 0.5)


def _touching(resolution: Resolution, position: int) -> list[BoundRule]:
    return [rule for rule in resolution.rules if rule.mask >> (8 * position) & 1]


def _touches(resolution: Resolution, rule: BoundRule, position: int) -> list[Touch]:
    found = []
    for key, setting in rule.settings.items():
        winner = resolution.rules[resolution.decided.winners[key][position]]
        value = as_written(getattr(rule.rule, setting.key))
        place = resolution.spec.locations.key((*rule.path, setting.key))
        reason = _reason(resolution, rule, winner, key, position)
        won = winner is rule and not (key == "weight_decay" and resolution.assignments[position].masked)
        found.append(Touch(rule.name, place, setting.key, value, won, reason))
    return found


def as_written(value: Any) -> Any:
    """Return a setting in the plain types that it is written in."""
    return value.model_dump(exclude_unset=True) if isinstance(value, Table) else value


def _reason(resolution: Resolution, rule: BoundRule, winner: BoundRule, key: str, position: int) -> str:
    if key == "weight_decay" and winner is rule and resolution.assignments[position].masked:
        return "masked by no_decay"
    if winner is rule:
        others = [
            other for other in _touching(resolution, position) if key in other.settings and other is not rule
        ]
        if not others:
            return "the only rule that sets it"
        overruled = any(rule.overrides(other.name) for other in others)
        return "overrides" if overruled else "the most specific rule that sets it"
    if winner.settings[key].value == rule.settings[key].value:
        return f"`{winner.name}` says the same, later"
    return f"overridden by `{winner.name}`" if winner.overrides(rule.name) else f"refined by `{winner.name}`"


def _notes(resolution: Resolution, info: ParamInfo, what: Assignment, names: tuple[str, ...]) -> list[str]:
    notes = []
    if len(names) > 1:
        notes.append("one tensor under several names: " + ", ".join(names))
    if info.roles:
        notes.append("roles: " + ", ".join(f"@{role}" for role in sorted(info.roles)))
    if info.layer is not None and info.stack is not None:
        notes.append(f"layer {info.layer} of {info.stack}")
    if what.rung:
        notes.append(f"layer decay multiplies its rate by {what.decay:g} ({what.rung})")
    if what.masked:
        notes.append("no_decay sets its weight decay to 0")
    if what.trainable and "lr" not in dict(what.decided):
        notes.append(f"no rule sets a rate: the base rate of [optimizer], {resolution.spec.optimizer.lr}")
    return notes
