"""The lines under the plan's table: what trains, how much of it, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from freezeplan.diagnostics.wording import (
    counted,
    format_bytes,
    format_count,
    format_number,
    format_percent,
    format_rate,
    quoted,
)
from freezeplan.inventory.records import ITEM_BYTES
from freezeplan.plan.records import Options, Phase, Plan, PlannedOptimizer
from freezeplan.render.rows import is_masked
from freezeplan.render.schedule import Fact, length_text, schedule_facts
from freezeplan.render.training import task_facts, training_facts
from freezeplan.render.written import format_options

WIDE = ("float32", "float64")
"""Formats that `frozen_dtype` narrows."""


def model_line(plan: Plan) -> str:
    """Name the model and how it was found."""
    return f"{plan.model} ({plan.origin})" if plan.origin else plan.model


def summary_facts(
    plan: Plan,
    phase: int = 0,
    execution: Sequence[str] | None = None,
    *,
    training: Mapping[str, Any] | None = None,
    folded: bool = False,
) -> tuple[Fact, ...]:
    """Return the summary of one phase as pairs of label and text, in the order they are shown.

    ``execution`` says of each phase how its frozen prefix will run, None where it is not the bundled trainer that
    trains, and ``training`` is the record of what that is to do. ``folded`` says that groups share lines.
    """
    what = plan.phases[phase]
    several = len(plan.phases) > 1
    last = [("execution", execution[phase])] if execution else []
    return (
        *run_facts(plan, training),
        *(_phase_facts(plan, phase) if several else ()),
        ("trainable", trainable_line(plan, what)),
        *plan_facts(plan, what.optimizer_state_bytes, folded=folded),
        *_standing_facts(what),
        *last,
    )


def run_facts(plan: Plan, training: Mapping[str, Any] | None) -> Iterator[Fact]:
    """Yield what a run is, before what the plan says of it: the model, the tasks, a step, the schedule."""
    yield "model", model_line(plan)
    if training is not None:
        yield from task_facts(training)
        yield from training_facts(training, plan)
    yield from schedule_facts(plan)


def _phase_facts(plan: Plan, phase: int) -> Iterator[Fact]:
    yield "length", length_text(plan.phases[phase].length)
    entry = entry_text(plan, phase)
    if entry:
        yield "on entry", entry


def entry_text(plan: Plan, index: int) -> str:
    """Say what changes when a phase begins: what thaws or freezes, and which state is dropped."""
    phase = plan.phases[index]
    again = set(phase.thawed) & _trained_before(plan, index)
    parts = [f"thaws {counted(len(phase.thawed), 'tensor')}"] if phase.thawed else []
    if phase.refrozen:
        parts.append(f"freezes {counted(len(phase.refrozen), 'tensor')}")
    if again:
        kept = "kept" if phase.on_thaw == "keep" else "new"
        parts.append(f"optimizer state of {format_count(len(again))} thawed again is {kept}")
    return "; ".join(parts)


def _trained_before(plan: Plan, index: int) -> set[str]:
    return {name for before in range(index) for name in plan.names(before, trainable=True)}


def trainable_line(plan: Plan, phase: Phase) -> str:
    """Say how much of the model trains: ``592,130 of 66,955,010 parameters (0.9 %)``."""
    part, whole = phase.trainable_numel, plan.numel
    return f"{format_count(part)} of {format_count(whole)} parameters ({format_percent(part, whole)})"


def trained_line(plan: Plan) -> str:
    """Say how much of the model trains at some time, and in how many phases."""
    part, whole = sum(group.numel for group in plan.groups), plan.numel
    text = f"{format_count(part)} of {format_count(whole)} parameters ({format_percent(part, whole)})"
    return f"{text} in {counted(len(plan.phases), 'phase')}" if len(plan.phases) > 1 else text


def coverage_line(plan: Plan) -> str:
    """Count the tensors that stand in a group or a frozen set, of all there are."""
    accounted = {name for item in (*plan.groups, *plan.frozen) for name in item.members}
    part, whole = len(accounted), len(plan.params)
    share = format_percent(part, whole)
    return f"{format_count(part)} of {counted(whole, 'tensor')} accounted for ({share})"


def plan_facts(plan: Plan, state: int | None = None, *, folded: bool = False) -> Iterator[Fact]:
    """Yield what holds for the whole plan; ``state`` is the size of the optimizer's state in a phase."""
    yield "coverage", coverage_line(plan)
    if plan.frozen_dtype:
        yield "frozen weights", frozen_line(plan)
    size = "" if state is None else f"; {_state(plan, state)}"
    several = len(plan.working) > 1
    for item in plan.working or plan.optimizers[:1]:
        yield item.table, f"{_optimizer(item)}{'' if several else size}"
        if options := _known(item):
            yield "options", format_options(options)
    if several and size:
        yield "all optimizers", size.removeprefix("; ")
    if folded:
        yield "groups", groups_line(plan)


def frozen_line(plan: Plan) -> str:
    """Say in which number format the tensors rest that no phase trains, and in how much space."""
    resting = set(plan.at_rest)
    found = [param for param in plan.params if param.name in resting and param.dtype in WIDE]
    numel = sum(param.numel for param in found)
    before = sum(param.numel * ITEM_BYTES[param.dtype] for param in found)
    sizes = f"{format_bytes(numel * ITEM_BYTES[plan.frozen_dtype or ''])} in place of {format_bytes(before)}"
    return f"{counted(len(found), 'tensor')} kept in {plan.frozen_dtype}: {sizes}"


def groups_line(plan: Plan) -> str:
    """Count the optimizer's groups, where the table has fewer lines: ``4, 2 of them …``."""
    masked = sum(is_masked(group.name) for group in plan.groups)
    without = f", {format_count(masked)} of them without weight decay (no_decay)" if masked else ""
    return f"{format_count(len(plan.groups))} in the optimizer{without}; --groups shows each"


def _standing_facts(phase: Phase) -> Iterator[Fact]:
    if phase.frozen_prefix.layers:
        yield "frozen prefix", _prefix(phase)
    if phase.eval_modules:
        yield "eval mode", f"{counted(len(phase.eval_modules), 'module')} without dropout, statistics fixed"
    if phase.kept_in_train_mode:
        yield "kept in train mode", ", ".join(path or "the whole model" for path in phase.kept_in_train_mode)


def _optimizer(item: PlannedOptimizer) -> str:
    rate = f"base LR {format_rate(item.lr)}, weight decay {format_number(item.weight_decay)}"
    return f"{item.name}, {rate}"


def _known(item: PlannedOptimizer) -> Options:
    """Return the options and arguments that are known: of an optimizer from elsewhere, those that are written."""
    return (*(pair for pair in item.options if pair[1] is not None), *item.arguments)


def _state(plan: Plan, size: int) -> str:
    """Say how much the optimizers keep, and of which that is not known before they are built."""
    unknown = quoted(item.name for item in plan.working if item.is_foreign)
    if not unknown:
        return f"{format_bytes(size)} of state"
    known = f"{format_bytes(size)} of state, and " if len(plan.working) > 1 else ""
    return f"{known}the state of {unknown} is not known before it is built"


def _prefix(phase: Phase) -> str:
    prefix = phase.frozen_prefix
    stack = f" of {prefix.stack}" if prefix.stack else ""
    return f"{prefix.layers} of {counted(prefix.of, 'layer')}{stack}, with all before them"
