"""From a spec and its plan to what every phase costs, without weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from freezeplan.apply import apply_freeze, build_optimizer, fused_option
from freezeplan.apply.matching import named_tensors
from freezeplan.apply.phases import enter_phase
from freezeplan.apply.recomputing import check_layers, checkpoint_above
from freezeplan.apply.resting import rest_frozen
from freezeplan.apply.sharing_out import share_out
from freezeplan.cost.fakes import set_fake_tensors
from freezeplan.cost.frozen_prefix import PrefixWork, frozen_prefix_work
from freezeplan.cost.inputs import inputs_for
from freezeplan.cost.memory import ROUNDS, measure_memory, nbytes
from freezeplan.cost.records import Cost, Memory, PhaseCost, Store, batches_text
from freezeplan.cost.sharing import ALONE, Sharing, pretended_mesh, sharing_of
from freezeplan.cost.store_rows import counted_rows, stored_rows
from freezeplan.cost.tracking import NumbersAsOne
from freezeplan.cost.trial import Trial
from freezeplan.cost.work import measure_work, step_work
from freezeplan.data.labels import labels_of
from freezeplan.data.row_counts import EVALUATED, STAND_IN, TRAINED, Rows, rows_of
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import format_bytes, format_count
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
def estimate_cost(
    spec: Spec, plan: Plan, batch_size: int | None = None, length: int | None = None, processes: int = 1
) -> Cost:
    """Work out what every phase of a plan costs: bytes and FLOPs, before anything is loaded.

    The spec's model is built from its config on fake tensors and takes the steps that training would take, with
    the plan's optimizer. ``batch_size`` is in rows per batch (default: the spec's), ``length`` in tokens
    (default: the spec's ``max_length``, else what the model takes, at most 512). Of several ``processes`` it is the
    cost of each, in the way of ``train.strategy``. Phases come in the plan's order. Raises ``DiagnosticError``: FP480
    for a model that does not run that way, FP481 for an impossible length, FP561 for processes that cannot share the
    run, and all that finding and building the model raises.
    """
    inventory = inventory_for(spec)
    sharing = sharing_of(spec, plan, inventory, processes)
    trial, rows = trial_of(spec, plan, batch_size, length, sharing), rows_of(spec)
    known = bool(spec.task) and rows.known(trial.objectives)
    with held_trial(trial, spec, plan, inventory, length) as held:
        stored, costs = _stored(spec, plan, rows), _phases(trial, held, plan, rows, inventory)
        priced = tuple(_priced(trial, cost, cut, stored) for cost, cut in costs)
    phases = _judged(spec, plan, priced)
    return Cost(
        batch_size=trial.batch_size,
        eval_batch_size=rows_at_once("cpu", spec.train.eval_batch_size),
        length=trial.inputs.length,
        inputs=trial.inputs.words,
        rows_known=known,
        phases=phases,
        assumptions=tuple(_assumptions(trial, plan, known)),
        batch_sizes=trial.batch_sizes,
        processes=sharing.processes,
        strategy=sharing.way,
    )


def _stored(spec: Spec, plan: Plan, rows: Rows) -> dict[str, int]:
    """Return how many rows of each task a store holds, nothing where they cannot be counted."""
    if not rows.known(tasks_that_ever_learn(spec, plan)):
        return {}
    return stored_rows(spec, plan, {TRAINED: rows.counts, EVALUATED: rows_of(spec, EVALUATED).counts})


def trial_of(
    spec: Spec, plan: Plan, batch_size: int | None, length: int | None, sharing: Sharing = ALONE
) -> Trial:
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
    return Trial(model.train(), mode, inputs, tasks, spec.train, size, evaluated, own, sharing)


@contextmanager
def held_trial(
    trial: Trial, spec: Spec, plan: Plan, inventory: Inventory, length: int | None
) -> Iterator[Trial]:
    """Yield a trial of what one process holds within the block: where a model is shared out, of another model."""
    if trial.sharing.way != "shard":
        yield trial
        return
    held = replace(
        trial_of(spec, plan, trial.batch_size, length, trial.sharing), batch_sizes=trial.batch_sizes
    )
    with pretended_mesh(trial.sharing.processes) as mesh:
        with held.running():
            share_out(held.model, plan, inventory.stacks, mesh, torch.device("cpu"))
        yield held


def _phases(
    trial: Trial, held: Trial, plan: Plan, rows: Rows, inventory: Inventory
) -> Iterator[tuple[PhaseCost, PrefixWork | str]]:
    """Walk through the phases as a run does: one model, and one optimizer that keeps what the plan keeps.

    ``held`` is the trial of what a process holds. Yields each phase's cost without a store, and its frozen prefix, or
    in words why there is none.
    """
    stacks = {stack.path: stack for stack in inventory.stacks}
    for index, optimizer, held_optimizer in _both_entered(trial, held, plan):
        prefix = plan.phases[index].frozen_prefix
        stack = None if prefix.stack is None else stacks.get(prefix.stack)
        learning = trial.learning()
        memory = measure_memory(held, held_optimizer, learning)
        if held is not trial:
            # What is gathered for a forward pass is none of its activations.
            plain = measure_memory(trial, optimizer, learning, ROUNDS - 1)
            memory = replace(memory, activations=plain.activations, saved=plain.saved)
        yield _cost_of_phase(trial, memory, learning, (index, plan.phases[index].name), rows, stack)


def _both_entered(
    trial: Trial, held: Trial, plan: Plan
) -> Iterator[tuple[int, torch.optim.Optimizer | None, torch.optim.Optimizer | None]]:
    if held is trial:
        yield from ((index, optimizer, optimizer) for index, optimizer in entered(trial, plan))
        return
    for (index, optimizer), (_, other) in zip(entered(trial, plan), entered(held, plan), strict=True):
        yield index, optimizer, other


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
    memory: Memory,
    learning: tuple[str, ...],
    phase: tuple[int, str],
    rows: Rows,
    stack: Stack | None,
) -> tuple[PhaseCost, PrefixWork | str]:
    names = learning or trial.objectives
    works = {objective: measure_work(trial, objective) for objective in names}
    index, name = phase
    count = StepCount(rows.each(names), trial.train, trial.batch_sizes, index)
    run = {task: round(taken) for task, taken in count.rows_per_epoch.items()}
    epoch = sum(work.total * run[task] // trial.whole_batch(task) for task, work in works.items())
    cut = frozen_prefix_work(trial, learning[0], stack) if learning else NOTHING_TRAINS
    cost = PhaseCost(
        name=name,
        learning=learning,
        memory=memory,
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
    # All processes compute a share of it. Those that share a model hold that alone; others have all of it each.
    count = trial.sharing.processes
    parts = count if trial.sharing.way == "shard" else 1
    store = Store(
        prefix=cut.prefix,
        nbytes=kept // cut.texts // parts,
        rows=sum(stored.values()),
        build=cut.flops * sum(texts.values()) // cut.texts // count,
        epoch=cost.epoch - cut.flops * run // cut.texts // count,
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
        yield f"a step takes {format_count(train.accumulation)} batches, one after the other"


def _shares(trial: Trial) -> Iterator[str]:
    count = trial.sharing.processes
    if count > 1:
        rows = format_count(trial.size_of(trial.objectives[0]))
        yield f"of {format_count(count)} processes this is one, which runs the most rows: {rows} of a batch"
    if trial.sharing.way == "shard":
        whole = format_bytes(nbytes((*trial.model.parameters(), *trial.model.buffers())))
        yield f"it loads the whole model ({whole}), keeps a part of every tensor, and gathers a layer while it runs"
    elif trial.train.strategy == "shard":
        yield '`strategy = "shard"` shares a model among processes, and this is one: `--processes 2`'


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
    yield from _shares(trial)
    if trial.tasks is None:
        yield "the loss is the mean of the model's first floating-point output"
