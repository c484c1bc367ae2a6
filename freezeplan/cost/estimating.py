"""From a spec and its plan to what every phase costs, without weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from freezeplan.apply import apply_freeze, build_optimizer, fused_option
from freezeplan.apply.matching import named_tensors
from freezeplan.apply.phases import enter_phase
from freezeplan.apply.recomputing import check_layers, checkpoint_above
from freezeplan.apply.resting import rest_frozen
from freezeplan.cost.fakes import set_fake_tensors
from freezeplan.cost.frozen_prefix import PrefixWork, frozen_prefix_work
from freezeplan.cost.inputs import inputs_for
from freezeplan.cost.memory import measure_memory
from freezeplan.cost.records import Cost, PhaseCost, Store, batches_text
from freezeplan.cost.store_rows import counted_rows, stored_rows
from freezeplan.cost.tracking import NumbersAsOne
from freezeplan.cost.trial import Trial
from freezeplan.cost.work import measure_work, step_work
from freezeplan.data.labels import labels_of
from freezeplan.data.row_counts import EVALUATED, STAND_IN, TRAINED, Rows, rows_of
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.inventory.records import Inventory, Stack
from freezeplan.models.build import build_meta_model
from freezeplan.models.left_open import length_of
from freezeplan.models.positions import LONGEST
from freezeplan.models.resolve import resolve_source
from freezeplan.models.sources import inventory_for
from freezeplan.plan.learning import tasks_that_ever_learn
from freezeplan.plan.records import Plan
from freezeplan.plan.stepping import StepCount, batch_sizes_of
from freezeplan.plan.storing import OFF, STREAMED, TOO_FEW, Pass, StoreUse, pass_for, rows_run
from freezeplan.prefix.examples import rows_at_once
from freezeplan.spec.locations import attaching
from freezeplan.spec.streams import rows_per_pass
from freezeplan.spec.tables import Spec, TrainTable
from freezeplan.tasks import task_kind

NOTHING_TRAINS = "nothing trains here: each row is needed once"


@attaching
def estimate_cost(spec: Spec, plan: Plan, batch_size: int | None = None, length: int | None = None) -> Cost:
    """Work out what every phase of a plan costs: bytes and FLOPs, before anything is loaded.

    The spec's model is built from its config on fake tensors and takes the steps that training would take, with
    the plan's optimizer. ``batch_size`` is in rows per batch (default: the spec's), ``length`` in tokens
    (default: the spec's ``max_length``, else what the model takes, at most 512). Phases come in the plan's order.
    Raises ``DiagnosticError``: FP480 for a model that does not run that way, FP481 for an impossible length, and
    all that finding and building the model raises.
    """
    trial = trial_of(spec, plan, batch_size, length)
    rows = rows_of(spec)
    known = bool(spec.task) and rows.known(trial.objectives)
    stored, costs = _stored(spec, plan, rows), _phases(trial, plan, rows, inventory_for(spec))
    phases = _judged(spec, plan, tuple(_priced(trial, cost, cut, stored) for cost, cut in costs))
    return Cost(
        batch_size=trial.batch_size,
        eval_batch_size=rows_at_once("cpu", spec.train.eval_batch_size),
        length=trial.inputs.length,
        inputs=trial.inputs.words,
        rows_known=known,
        phases=phases,
        assumptions=tuple(_assumptions(trial, plan, known)),
        batch_sizes=trial.batch_sizes,
    )


def _stored(spec: Spec, plan: Plan, rows: Rows) -> dict[str, int]:
    """Return how many rows of each task a store holds, nothing where they cannot be counted."""
    if not rows.known(tasks_that_ever_learn(spec, plan)):
        return {}
    return stored_rows(spec, plan, {TRAINED: rows.counts, EVALUATED: rows_of(spec, EVALUATED).counts})


def trial_of(spec: Spec, plan: Plan, batch_size: int | None, length: int | None) -> Trial:
    """Build a spec's model on fake tensors, as the plan keeps them; raises what :func:`estimate_cost` does."""
    source = resolve_source(spec)
    if source.config is None:
        message = f"`{source.label}` is a file of tensors: without a config there is no model to run"
        raise DiagnosticError([diagnostic("FP480", message, help="add `architecture`")])
    model = build_meta_model(source, spec, labels_of(spec, source.trained_labels))
    inputs = inputs_for(model.backbone if spec.task else model, spec, length, length_of(source) or LONGEST)
    rest_frozen(model, plan, named_tensors(model, plan))
    if spec.train.gradient_checkpointing:
        check_layers(model.backbone if spec.task else model)
    mode = FakeTensorMode()
    set_fake_tensors(model, mode)
    tasks = {task.name: task_kind(task) for task in spec.task} or None
    size = batch_size or spec.train.batch_size
    evaluated = any(task.data and (task.data.validation or task.data.test) for task in spec.task)
    own = batch_sizes_of(spec) if batch_size is None else {}
    return Trial(model.train(), mode, inputs, tasks, spec.train, size, evaluated, own)


def _phases(
    trial: Trial, plan: Plan, rows: Rows, inventory: Inventory
) -> Iterator[tuple[PhaseCost, PrefixWork | str]]:
    """Walk through the phases as a run does: one model, and one optimizer that keeps what the plan keeps.

    Yields each phase's cost without a store, and its frozen prefix, or in words why there is none.
    """
    stacks = {stack.path: stack for stack in inventory.stacks}
    for index, optimizer in entered(trial, plan):
        phase = plan.phases[index]
        prefix = phase.frozen_prefix
        stack = None if prefix.stack is None else stacks.get(prefix.stack)
        yield _cost_of_phase(trial, optimizer, (index, phase.name), rows, stack)


def entered(trial: Trial, plan: Plan) -> Iterator[tuple[int, torch.optim.Optimizer | None]]:
    """Put the model through the phases of a plan; yields each one's place, and the optimizer, if there is one."""
    with trial.running(), NumbersAsOne():
        optimizer = None
        if plan.groups:
            optimizer = build_optimizer(trial.model, plan, **fused_option(trial.model, plan))
    for index in range(len(plan.phases)):
        with trial.running(), NumbersAsOne():
            _enter(trial, optimizer, plan, index)
        yield index, optimizer


def _enter(trial: Trial, optimizer: torch.optim.Optimizer | None, plan: Plan, index: int) -> None:
    if optimizer is None:
        apply_freeze(trial.model, plan, index)
    else:
        enter_phase(trial.model, optimizer, plan, index)
    if trial.train.gradient_checkpointing:
        checkpoint_above(trial.model, random=False)


def _cost_of_phase(
    trial: Trial,
    optimizer: torch.optim.Optimizer | None,
    phase: tuple[int, str],
    rows: Rows,
    stack: Stack | None,
) -> tuple[PhaseCost, PrefixWork | str]:
    learning = trial.learning()
    names = learning or trial.objectives
    works = {objective: measure_work(trial, objective) for objective in names}
    index, name = phase
    count = StepCount(rows.each(names), trial.train, trial.batch_sizes, index)
    run = {task: round(taken) for task, taken in count.rows_per_epoch.items()}
    epoch = sum(work.total * run[task] // trial.size_of(task) for task, work in works.items())
    cut = frozen_prefix_work(trial, learning[0], stack) if learning else NOTHING_TRAINS
    cost = PhaseCost(
        name=name,
        learning=learning,
        memory=measure_memory(trial, optimizer, learning),
        step=step_work(trial, works, count),
        epoch=epoch,
        rows=run,
        store=None,
        no_store="",
    )
    return cost, cut


def _priced(trial: Trial, cost: PhaseCost, cut: PrefixWork | str, stored: Mapping[str, int]) -> PhaseCost:
    """Return a phase's cost with that of its store; ``stored`` counts rows by task, empty where that is not known."""
    if isinstance(cut, str):
        return replace(cost, no_store=cut)
    stored = stored or {cost.learning[0]: STAND_IN}
    texts = {task: count * trial.texts_of(task) for task, count in stored.items()}
    kept = sum(
        count * (cut.states if _over_words(trial, task) else cut.nbytes) for task, count in texts.items()
    )
    run = sum(count * trial.texts_of(task) for task, count in cost.rows.items())
    store = Store(
        prefix=cut.prefix,
        nbytes=kept // cut.texts,
        rows=sum(stored.values()),
        build=cut.flops * sum(texts.values()) // cut.texts,
        epoch=cost.epoch - cut.flops * run // cut.texts,
    )
    return replace(cost, store=store)


def _over_words(trial: Trial, objective: str) -> bool:
    return trial.tasks is not None and trial.tasks[objective].reads_words


def _judged(spec: Spec, plan: Plan, phases: tuple[PhaseCost, ...]) -> tuple[PhaseCost, ...]:
    """Return the phases without the stores that the trainer will not make, for the reason that its log gives."""
    rows = counted_rows(spec, plan) if spec.task else None
    if spec.train.store == "off":
        return tuple(_without(phase, OFF) if phase.store else phase for phase in phases)
    if rows_per_pass(spec):
        return tuple(_without(phase, STREAMED) if phase.store else phase for phase in phases)
    if rows is None or spec.train.store == "require":
        return phases
    uses = [
        StoreUse(phase.store.prefix if phase.store else None, rows_run(spec, plan, index, rows))
        for index, phase in enumerate(phases)
    ]
    return tuple(
        phase if phase.store is None else _if_it_pays(phase, pass_for(index, uses, rows.different))
        for index, phase in enumerate(phases)
    )


def _if_it_pays(phase: PhaseCost, shared: Pass) -> PhaseCost:
    return phase if shared.pays else _without(phase, f"{TOO_FEW} ({shared.shortage})")


def _without(phase: PhaseCost, reason: str) -> PhaseCost:
    return replace(phase, store=None, no_store=reason)


def _formats(train: TrainTable, plan: Plan) -> Iterator[str]:
    if train.precision != "float32":
        yield f"matrices are multiplied in {train.precision}"
    if plan.frozen_dtype and plan.at_rest:
        yield f"weights that no phase trains are kept in {plan.frozen_dtype}"
    if train.gradient_checkpointing:
        yield "layers that a gradient reaches run again in the backward pass"
    if train.accumulation > 1:
        yield f"a step takes {train.accumulation} batches, one after the other"


def _assumptions(trial: Trial, plan: Plan, known: bool) -> Iterator[str]:
    """Say in words what the numbers rest on."""
    batches = batches_text(trial.batch_size, trial.batch_sizes)
    yield f"{trial.inputs.words}, all of them, in {batches}, on a CPU"
    yield from notes_on_bytes(trial, plan)
    yield "FLOPs are those of matrix products, convolutions and attention; a multiply-add counts as two"
    if not known:
        yield f"per {STAND_IN:,} rows of each task: how many there are cannot be told here"


def notes_on_bytes(trial: Trial, plan: Plan) -> Iterator[str]:
    """Say in words what bytes are counted, and of what."""
    yield "bytes are those of tensors: the interpreter, its libraries and the data come on top"
    yield from _formats(trial.train, plan)
    if trial.tasks is None:
        yield "the loss is the mean of the model's first floating-point output"
