"""From a resolved spec to the plan: its tensors, groups and phases, and the advice about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from freezeplan.diagnostics import Diagnostic, DiagnosticError, KeyPart
from freezeplan.inventory.records import ITEM_BYTES, Inventory
from freezeplan.plan.binding import BoundRule
from freezeplan.plan.grouping import partition
from freezeplan.plan.layout import lay_schedules
from freezeplan.plan.modes import BACKBONE, eval_modules, frozen_prefix
from freezeplan.plan.optimizers import demand_problems
from freezeplan.plan.owners import Owner
from freezeplan.plan.phase_advice import phase_advice
from freezeplan.plan.records import (
    Assignment,
    FreezeRule,
    FrozenPrefix,
    Group,
    Phase,
    PhaseSchedule,
    Plan,
    PlannedParam,
    Target,
)
from freezeplan.plan.resolution import Resolution
from freezeplan.plan.thawing import ThawHistory, histories
from freezeplan.spec.keys import EGERIA
from freezeplan.spec.locations import at_key
from freezeplan.spec.tables import Spec

TOLERANCE, LOOKS = 0.2, 2
PERCENTILE, INTERVALS = 50.0, 4


def build_plan(resolution: Resolution) -> Plan:
    """Return the plan of a resolution without errors; raises for what only the whole plan shows."""
    spec, inventory, owners = resolution.spec, resolution.inventory, resolution.owners
    params = _planned(inventory)
    whats = [_of_tensors(resolution, phase) for phase in range(len(resolution.stages))]
    groups, frozen = partition(params, whats, _selected_by(resolution.rules), _written(owners))
    problems = [*resolution.problems, *_demands(resolution, groups), *_balancing(spec, params, whats)]
    problems += _formats(spec, groups)
    if any(item.is_error for item in problems):
        raise DiagnosticError(spec.locations.attach(problems))
    problems += phase_advice(resolution, whats)
    return Plan(
        model=inventory.label,
        origin=inventory.origin,
        base=inventory.base,
        optimizers=tuple(owner.planned for owner in owners),
        params=params,
        phases=_phases(resolution, params, whats),
        groups=groups,
        frozen=frozen,
        diagnostics=spec.locations.attach(problems),
        stop_when=_stop_when(spec),
        score=tuple((spec.train.score or {}).items()),
        frozen_dtype=spec.model.frozen_dtype,
        freeze_when=_freeze_when(spec),
    )


def _written(owners: Sequence[Owner]) -> dict[str, tuple[str, ...]]:
    return {owner.planned.label: tuple(owner.written) for owner in owners}


def _demands(resolution: Resolution, groups: Sequence[Group]) -> Iterator[Diagnostic]:
    tensors = {info.name: info for info in resolution.inventory.tensors}
    several = len({group.optimizer for group in groups}) > 1
    for owner in resolution.owners:
        own = [group for group in groups if group.optimizer == owner.planned.label]
        yield from demand_problems(owner.facts, owner.path, own, tensors)
        if own and several and owner.facts.demand == "a closure":
            message = f"{owner.facts.name} calls back for the loss: it cannot be one of several optimizers"
            advice = "use another optimizer, such as `adamw`"
            yield at_key((*owner.path, "name"), "FP402", message, help=advice)


def _balancing(
    spec: Spec, params: Sequence[PlannedParam], whats: Sequence[Sequence[Assignment]]
) -> Iterator[Diagnostic]:
    """Report that gradients are to be balanced where no tensor that tasks share ever trains."""
    trained = (param.name for row in whats for param, what in zip(params, row, strict=True) if what.trainable)
    if spec.train.balancing is not None and not any(name.startswith(BACKBONE) for name in trained):
        message = "`balancing` has nothing to balance: no tensor that the tasks share trains in any phase"
        advice = "remove it, or make layers of the backbone trainable"
        yield at_key(("train", "balancing"), "FP435", message, help=advice, part=KeyPart.KEY)


def _formats(spec: Spec, groups: Sequence[Group]) -> Iterator[Diagnostic]:
    """Refuse to let the bundled trainer train weights that are kept in float16: most updates would be lost in them."""
    if spec.task and spec.model.dtype == "float16" and groups:
        message = "weights that train would be kept in float16, in which small updates are lost"
        advice = 'remove `dtype`, and compute in half precision by `train.precision = "fp16"` or `"bf16"`'
        yield at_key(("model", "dtype"), "FP437", message, help=advice)


def _of_tensors(resolution: Resolution, phase: int) -> list[Assignment]:
    by_name = resolution.by_name(phase)
    return [by_name[info.name] for info in resolution.inventory.tensors]


def _stop_when(spec: Spec) -> Target | None:
    stop = spec.train.stop_when
    return Target(stop.metric, stop.at_least) if stop else None


def _freeze_when(spec: Spec) -> FreezeRule | None:
    when = spec.freeze_when
    if when is None:
        return None
    if when.rule == EGERIA:
        return FreezeRule(when.rule, when.intervals or LOOKS, tolerance=when.tolerance or TOLERANCE)
    return FreezeRule(when.rule, when.intervals or INTERVALS, percentile=when.percentile or PERCENTILE)


def _planned(inventory: Inventory) -> tuple[PlannedParam, ...]:
    aliases: dict[str, list[str]] = {}
    for info in inventory.params:
        if info.alias_of is not None:
            aliases.setdefault(info.alias_of, []).append(info.name)
    return tuple(
        PlannedParam(
            info.name, tuple(aliases.get(info.name, ())), info.shape, info.dtype, info.numel, info.layer
        )
        for info in inventory.tensors
    )


def _selected_by(rules: Sequence[BoundRule]) -> dict[str, str]:
    return {rule.name: _pattern_text(rule) for rule in rules}


def _pattern_text(rule: BoundRule) -> str:
    text = ", ".join(rule.rule.match)
    return f"{text} except {', '.join(rule.rule.except_)}" if rule.rule.except_ else text


def _phases(
    resolution: Resolution, params: Sequence[PlannedParam], whats: Sequence[Sequence[Assignment]]
) -> tuple[Phase, ...]:
    resets = [stage.on_thaw == "reset" for stage in resolution.stages]
    tensors = histories([[what.trainable for what in row] for row in zip(*whats, strict=True)], resets)
    schedules = lay_schedules(resolution.spec, resolution.stages)
    return tuple(
        _phase(resolution, index, params, whats[index], tensors, schedule)
        for index, schedule in enumerate(schedules)
    )


def _prefix(resolution: Resolution, assignments: Sequence[Assignment]) -> FrozenPrefix:
    """Return what is frozen at the model's beginning: a native head reads more of a backbone than pooled vectors."""
    found = frozen_prefix(resolution.tree, assignments)
    reads_all = any(task.head == "native" for task in resolution.spec.task)
    return replace(found, whole_backbone=found.whole_backbone and not reads_all)


def _phase(
    resolution: Resolution,
    index: int,
    params: Sequence[PlannedParam],
    whats: Sequence[Assignment],
    tensors: Sequence[ThawHistory],
    schedule: PhaseSchedule,
) -> Phase:
    stage, assignments = resolution.stages[index], resolution.assignments[index]
    in_eval, in_train = eval_modules(resolution.tree, assignments)
    rows = list(zip(params, whats, tensors, strict=True))
    facts = {owner.planned.label: owner.facts for owner in resolution.owners}
    return Phase(
        name=stage.name,
        assignments=tuple(whats),
        eval_modules=in_eval,
        kept_in_train_mode=in_train,
        frozen_prefix=_prefix(resolution, assignments),
        trainable_numel=sum(param.numel for param, what, _ in rows if what.trainable),
        optimizer_state_bytes=sum(
            facts[what.optimizer].state_bytes(param.shape, ITEM_BYTES.get(param.dtype, 4), what.options)
            for param, what, tensor in rows
            if index in tensor.holds_state
        ),
        length=stage.length,
        schedule=schedule,
        on_thaw=stage.on_thaw,
        thawed=tuple(param.name for param, _, tensor in rows if index in tensor.thaws),
        refrozen=tuple(param.name for param, _, tensor in rows if index in tensor.refreezes),
        drops_state=tuple(param.name for param, _, tensor in rows if index in tensor.drops),
    )
