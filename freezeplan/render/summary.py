"""The lines under the plan's table: what trains, how much of it, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator

from freezeplan.diagnostics.wording import (
    counted,
    format_bytes,
    format_count,
    format_number,
    format_percent,
    format_rate,
)
from freezeplan.plan.records import Options, Phase, Plan

Fact = tuple[str, str]


def model_line(plan: Plan) -> str:
    """Name the model and how it was found."""
    return f"{plan.model} ({plan.origin})" if plan.origin else plan.model


def summary_facts(plan: Plan, phase: int = 0, store: str | None = None) -> tuple[Fact, ...]:
    """Return the summary as pairs of label and text, in the order they are shown.

    ``store`` is the spec's ``train.store``, None where it is not the bundled trainer that trains.
    """
    found = tuple(_facts(plan, plan.phases[phase]))
    return (*found, ("execution", execution_line(plan, phase, store))) if store else found


def execution_line(plan: Plan, phase: int, store: str) -> str:
    """Say how much of a frozen prefix a phase may run from the store; the trainer proves how much it is."""
    setting = f'train.store = "{store}"'
    most = stored_layers(plan, phase)
    if store == "off":
        return f"no store ({setting})"
    if not plan.phases[phase].trainable_numel:
        return "no store: nothing trains, each input runs once"
    if most == "0":
        return "no store: nothing is frozen below the first trainable tensor"
    of = plan.phases[phase].stack_length
    what = "features of the whole backbone" if most == "all" else f"prefix up to k={most} of {of}"
    return f"stored {what} ({setting})"


def stored_layers(plan: Plan, phase: int) -> str:
    """Return how many layers a store may stand for in a phase: a number, or ``all`` of the backbone."""
    trained = plan.names(phase, trainable=True)
    if trained and not any(name.startswith("backbone.") for name in trained):
        return "all"
    return str(plan.phases[phase].frozen_prefix) if trained else "0"


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


def format_options(options: Options) -> str:
    """Write optimizer options the way a spec does: ``betas = [0.9, 0.98], amsgrad = true``."""
    return ", ".join(f"{name} = {format_toml(value)}" for name, value in options)


def plan_facts(plan: Plan) -> Iterator[Fact]:
    """Yield what holds for the whole plan, whatever the phase."""
    yield "model", model_line(plan)
    yield "coverage", coverage_line(plan)
    yield "optimizer", _optimizer(plan)
    if plan.optimizer_options:
        yield "options", format_options(plan.optimizer_options)


def _facts(plan: Plan, phase: Phase) -> Iterator[Fact]:
    yield "model", model_line(plan)
    yield "trainable", trainable_line(plan, phase)
    yield "coverage", coverage_line(plan)
    yield "optimizer", f"{_optimizer(plan)}; {format_bytes(phase.optimizer_state_bytes)} of state"
    if plan.optimizer_options:
        yield "options", format_options(plan.optimizer_options)
    if phase.frozen_prefix:
        yield "frozen prefix", _prefix(phase)
    if phase.eval_modules:
        yield "eval mode", f"{counted(len(phase.eval_modules), 'module')} without dropout, statistics fixed"
    if phase.kept_in_train_mode:
        yield "kept in train mode", ", ".join(path or "the whole model" for path in phase.kept_in_train_mode)


def _optimizer(plan: Plan) -> str:
    rate = f"base LR {format_rate(plan.base_lr)}, weight decay {format_number(plan.base_weight_decay)}"
    return f"{plan.optimizer}, {rate}"


def _prefix(phase: Phase) -> str:
    stack = f" of {phase.stack}" if phase.stack else ""
    return f"{phase.frozen_prefix} of {counted(phase.stack_length, 'layer')}{stack}, with all before them"


def format_toml(value: object) -> str:
    """Write a value the way a spec does.

    >>> format_toml("frozen"), format_toml((0.9, 0.98)), format_toml({"rate": 0.5})
    ('"frozen"', '[0.9, 0.98]', '{ rate = 0.5 }')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(format_toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {format_toml(item)}" for key, item in value.items()) + " }"
    return format_number(value) if isinstance(value, (int, float)) else f'"{value}"'
