"""Why one parameter is treated as it is: every rule that touched it, and which won."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError, Span, diagnostic
from freezeplan.diagnostics.wording import closest, counted, format_rate, nearest, quoted, some
from freezeplan.inventory.records import ITEM_BYTES, Inventory, ParamInfo
from freezeplan.plan.binding import BoundRule
from freezeplan.plan.compiling import resolve
from freezeplan.plan.records import WHOLE_RUN, Assignment
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
    the tensor. ``assignment`` and ``touches`` (in the order of the spec) are those of the phase ``phase``;
    ``phases`` pairs every phase's name with what it does to the parameter. ``kept_in`` is the number format in which
    it rests where no phase trains it, None where it stays in its own.
    """

    asked: str
    param: ParamInfo
    names: tuple[str, ...]
    assignment: Assignment
    touches: tuple[Touch, ...]
    notes: tuple[str, ...]
    phase: str = WHOLE_RUN
    phases: tuple[tuple[str, Assignment], ...] = ()
    kept_in: str | None = None


def explain(inventory: Inventory, spec: Spec, name: str, phase: str | None = None) -> Why:
    """Return why a parameter is treated as it is in a phase (default: the last), by any of its names.

    Raises :class:`freezeplan.DiagnosticError` for an unknown name or phase, and for a spec that does not
    compile.
    """
    resolution = resolve(inventory, spec)
    if any(item.is_error for item in resolution.problems):
        raise DiagnosticError(spec.locations.attach(resolution.problems))
    info = _find(inventory, name)
    position = next(p for p, index in enumerate(resolution.tree.order) if inventory.params[index] is info)
    canonical = info.alias_of or info.name
    names = tuple(other.name for other in inventory.params if (other.alias_of or other.name) == canonical)
    index = phase_position([stage.name for stage in resolution.stages], phase)
    view = View(resolution, index, position)
    what = resolution.assignments[index][position]
    touches = tuple(touch for rule in view.touching for touch in _touches(view, rule))
    phases = tuple(
        (stage.name, row[position])
        for stage, row in zip(resolution.stages, resolution.assignments, strict=True)
    )
    notes = tuple(_notes(resolution, info, what, names))
    kept_in = _resting(spec, info, phases)
    return Why(name, info, names, what, touches, notes, phases[index][0], phases, kept_in)


def _resting(spec: Spec, info: ParamInfo, phases: Sequence[tuple[str, Assignment]]) -> str | None:
    narrow = spec.model.frozen_dtype
    if narrow is None or any(what.trainable for _, what in phases):
        return None
    wide = info.dtype.startswith(("float", "bfloat")) and ITEM_BYTES[info.dtype] > ITEM_BYTES[narrow]
    return narrow if wide else None


def phase_position(names: Sequence[str], phase: str | None) -> int:
    """Return the position of a phase by its name, else its number; the last one's for None.

    Raises ``DiagnosticError`` (FP217) for a stranger.

    >>> phase_position(["heads", "top"], "top"), phase_position(["heads", "top"], "1")
    (1, 0)
    """
    if phase is None:
        return len(names) - 1
    if phase not in names and phase.isdecimal() and len(phase) < 10 and 1 <= int(phase) <= len(names):
        return int(phase) - 1
    if phase not in names:
        advice = closest(phase, names) or f"phases: {quoted(names)}"
        raise DiagnosticError([diagnostic("FP217", f"the plan has no phase `{phase}`", help=advice)])
    return list(names).index(phase)


@dataclass(frozen=True)
class View:
    """One name in one phase of a resolution, with the rules that hold there and select it."""

    resolution: Resolution
    phase: int
    position: int

    @property
    def touching(self) -> list[BoundRule]:
        """The rules up to this phase that select the name, in order."""
        rules = [rule for rule in self.resolution.rules if rule.phase <= self.phase]
        return [rule for rule in rules if rule.mask >> (8 * self.position) & 1]

    def winner(self, key: str) -> BoundRule:
        """Return the rule that decides a property here."""
        return self.resolution.rules[self.resolution.decided[self.phase].winners[key][self.position]]

    @property
    def masked(self) -> bool:
        """Whether ``no_decay`` masks the weight decay here."""
        return self.resolution.assignments[self.phase][self.position].masked


def _find(inventory: Inventory, name: str) -> ParamInfo:
    by_name = {info.name: info for info in inventory.params}
    found = by_name.get(name) or by_name.get(f"{inventory.base}.{name}")
    if found is None:
        raise DiagnosticError([_stranger(name, list(by_name))])
    return found


def _stranger(name: str, known: list[str]) -> Diagnostic:
    below = [path for path in known if f".{name}." in f".{path}"]
    if below:
        message = f"`{name}` is no parameter: it holds {counted(len(below), 'parameter')}"
        return diagnostic("FP213", message, help=f"name one of them: {some(below, 3)}")
    offer = _close(name, known)
    advice = "did you mean " + quoted(offer) + "?" if offer else "`freezeplan show SPEC --params` lists them"
    return diagnostic("FP213", f"the model has no parameter `{name}`", help=advice)


def _close(name: str, known: list[str]) -> list[str]:
    """Return names that are close as a whole, or in as many last segments as were asked for."""
    depth = name.count(".") + 1
    tails = {".".join(path.split(".")[-depth:]): path for path in reversed(known)}
    ends = [tails[tail] for tail in nearest(name, tails, 3, 0.8)]
    return ends or nearest(name, known, 3, 0.5)


def _touches(view: View, rule: BoundRule) -> list[Touch]:
    found = []
    for key, setting in rule.settings.items():
        winner = view.winner(key)
        value = as_written(getattr(rule.rule, setting.key))
        place = view.resolution.spec.locations.key((*rule.path, setting.key))
        won = winner is rule and not (key == "weight_decay" and view.masked)
        found.append(Touch(rule.name, place, setting.key, value, won, _reason(view, rule, winner, key)))
    return found


def as_written(value: Any) -> Any:
    """Return a setting in the plain types that it is written in."""
    return value.model_dump(exclude_unset=True) if isinstance(value, Table) else value


def _reason(view: View, rule: BoundRule, winner: BoundRule, key: str) -> str:
    if key == "weight_decay" and winner is rule and view.masked:
        return "masked by no_decay"
    if winner is rule:
        others = [other for other in view.touching if key in other.settings and other is not rule]
        return _why_it_won(view, rule, others)
    if winner.settings[key].value == rule.settings[key].value:
        return f"`{winner.name}` says the same, later"
    if winner.phase > rule.phase:
        return f"changed by `{winner.name}` in phase `{view.resolution.stages[winner.phase].name}`"
    return f"overridden by `{winner.name}`" if winner.overrules(rule) else f"refined by `{winner.name}`"


def _why_it_won(view: View, rule: BoundRule, others: list[BoundRule]) -> str:
    if not others:
        return "the only rule that sets it"
    if any(other.phase < rule.phase for other in others):
        return f"set by phase `{view.resolution.stages[rule.phase].name}`"
    overruled = any(rule.overrules(other) for other in others)
    return "overrides" if overruled else "the most specific rule that sets it"


def _notes(resolution: Resolution, info: ParamInfo, what: Assignment, names: tuple[str, ...]) -> list[str]:
    notes = []
    if len(names) > 1:
        notes.append("one tensor under several names: " + ", ".join(names))
    if info.roles:
        notes.append("roles: " + ", ".join(f"@{role}" for role in sorted(info.roles)))
    if info.layer is not None and info.stack is not None:
        notes.append(f"layer {info.layer} of {info.stack or 'the root'}")
    if what.trainable and len(resolution.owners) > 1:
        notes.append(
            f"it has the optimizer of [{resolution.owner(what).table}], {resolution.owner(what).kind}"
        )
    if what.rung:
        notes.append(f"layer decay multiplies its rate by {what.decay:g} ({what.rung})")
    if what.masked:
        notes.append("no_decay sets its weight decay to 0")
    if what.trainable and "lr" not in dict(what.decided):
        owner = resolution.owner(what)
        notes.append(f"no rule sets a rate: the base rate of [{owner.table}], {format_rate(owner.lr)}")
    return notes
