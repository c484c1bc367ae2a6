"""Everything a run needs, made and checked before its first step; nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed

from freezeplan.apply import apply_freeze
from freezeplan.apply.ending import Scores, metric_value, score_of
from freezeplan.data.encoder import Encoder
from freezeplan.data.modality import check_kinds
from freezeplan.data.reader import READER
from freezeplan.data.split import TaskData
from freezeplan.data.task_rows import SPLITS, load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.names import without_parametrization
from freezeplan.inventory.records import Inventory, Stack
from freezeplan.models.attention import asked_attention
from freezeplan.models.left_open import source_advice
from freezeplan.models.leftovers import unused_advice
from freezeplan.models.loading import LoadRecord, load_model
from freezeplan.models.own_head import drawn_advice
from freezeplan.models.resolve import Source, resolve_source
from freezeplan.models.sources import label_of
from freezeplan.plan import compile_plan
from freezeplan.plan.learning import tasks_that_ever_learn
from freezeplan.plan.records import Plan
from freezeplan.runs.events import Observer, Working, ignore_events
from freezeplan.spec.tables import Spec
from freezeplan.tasks import task_kind
from freezeplan.train.checking import check_recomputing, check_run, training_rows
from freezeplan.train.encoded_rows import Data, encoded_data, encoder_for, notes_on_cuts, with_labels
from freezeplan.train.encoding import TextEncoder
from freezeplan.train.foreign_optimizers import check_foreign
from freezeplan.train.forward import EncodedSplit
from freezeplan.train.image_encoding import ImageEncoder, check_forward
from freezeplan.train.language import check_causal, end_advice
from freezeplan.train.launching import set_own_seed, start_accelerator
from freezeplan.train.own_source import own_spec
from freezeplan.train.ranks import Ranks
from freezeplan.train.same_plan import check_same_plan
from freezeplan.train.scheduling import (
    ScheduledPhase,
    schedule_phases,
    whole,
    with_lengths,
)
from freezeplan.train.sharing import SHARED
from freezeplan.train.single_rows import check_shared_statistics, check_single_rows
from freezeplan.train.strategies.choosing import check_strategy, strategy_for
from freezeplan.train.strategies.strategy import SharingStrategy
from freezeplan.train.streaming import Streams, streams_of
from freezeplan.train.unlabelled import encoded_unlabelled

STREAMED = "streamed"


@dataclass(frozen=True)
class Setup:
    """Hold what a run works with.

    ``data`` maps ``train``, ``validation`` and ``test`` to the tasks that have that split, in the order of
    the spec, and ``unlabelled`` tasks to test rows that have no targets. ``phases`` are the plan's, laid out over the
    data. ``streams`` hold the training rows that are read as they are needed. ``warnings`` are about the data and the
    schedule; ``stacks`` are the model's. ``attention`` is what the config asks for in words of its own.
    """

    spec: Spec
    plan: Plan
    model: torch.nn.Module
    encoder: Encoder
    tasks: tuple[TaskData, ...]
    data: Mapping[str, Mapping[str, EncodedSplit]]
    phases: tuple[ScheduledPhase, ...]
    strategy: SharingStrategy
    warnings: tuple[Diagnostic, ...]
    stacks: tuple[Stack, ...] = ()
    attention: Mapping[str, Any] = field(default_factory=dict)
    unlabelled: Mapping[str, EncodedSplit] = field(default_factory=dict)
    streams: Streams = field(default_factory=Streams)

    @property
    def ranks(self) -> Ranks:
        """Which of the run's processes this is."""
        return self.strategy.ranks

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.ranks.device

    @property
    def evaluation_only(self) -> bool:
        """Whether no phase trains anything."""
        return not self.plan.groups

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run, at most."""
        return whole(self.plan, [item.steps for item in self.phases])

    @property
    def epochs(self) -> int:
        """Epochs of the whole run, at most; one that the end of a phase cuts short counts."""
        return whole(self.plan, [item.epochs for item in self.phases])

    def value_of(self, metric: str, scores: Scores) -> float:
        """Return the value of a metric, or of the score over several, in some scores."""
        return metric_value(metric, scores, self.plan.score)

    def score_of(self, scores: Scores) -> float | None:
        """Return the plan's score over several metrics, None where it has none or some were not evaluated."""
        return score_of(scores, self.plan.score)

    @property
    def only_evaluated(self) -> tuple[str, ...]:
        """The tasks that learn in no phase of a run that trains."""
        learning = tasks_that_ever_learn(self.spec, self.plan)
        return tuple(task.name for task in self.tasks if learning and task.name not in learning)


def prepare(
    spec: Spec, shown: Plan | None = None, own: Path | None = None, observer: Observer = ignore_events
) -> Setup:
    """Read the data, load the model, compile its plan and freeze it.

    ``shown`` is a plan that was compiled without the weights; the real one must train the same way. ``own`` is
    the folder of the run that goes on: config and encoder come from there, weights are still to be filled in.
    Seeds every source of randomness with ``train.seed``. ``observer`` is told what takes time. Raises
    ``DiagnosticError`` for whatever makes the run impossible.
    """
    if shown is not None:
        check_foreign(spec, shown)
    observer(Working("reading the data"))
    strategy = strategy_for(spec, start_accelerator())
    _check_processes(spec, strategy.ranks.count)
    place = spec if own is None else own_spec(spec, own)
    source = resolve_source(place)
    tasks, warnings = _rows(spec, source, shown)
    set_seed(spec.train.seed)
    observer(Working("loading the model"))
    model, record = load_model(with_labels(place, tasks), weights=own is None)
    warnings += _advice_on_model(spec, source, shown, model, record)
    encoder, notes = _checked_encoder(spec, place, model)
    inventory = _inventory(model, record, label_of(source, place), source.origin)
    plan, advice = _planned(inventory, spec, shown, tasks, strategy)
    warnings += notes + advice
    _raise_errors(warnings)
    phases = schedule_phases(spec, plan, training_rows(tasks))
    observer(Working(f"preparing the {encoder.kind.plural}"))
    unlabelled, streams = encoded_unlabelled(tasks, encoder), streams_of(tasks, encoder)
    data, notes = _encoded(tasks, encoder, model)
    warnings += notes
    tasks = tuple(task.without_inputs() for task in tasks)
    stacks, attention = inventory.stacks, asked_attention(source.config or {})
    setup = Setup(
        *(spec, plan, model, encoder, tasks, data, phases, strategy, warnings, stacks, attention, unlabelled),
        streams=streams,
    )
    return _placed(_with_lengths(setup))


def _rows(
    spec: Spec, source: Source, shown: Plan | None
) -> tuple[tuple[TaskData, ...], tuple[Diagnostic, ...]]:
    """Read all rows; labels may come from the run that is the source."""
    known = {name: task.labels for name, task in source.run.tasks.items()} if source.run else {}
    return load_task_data(spec, known, tasks_that_ever_learn(spec, shown) if shown else ())


def _advice_on_model(
    spec: Spec, source: Source, shown: Plan | None, model: Any, record: LoadRecord
) -> tuple[Diagnostic, ...]:
    """Say which weights were not used, drawn, or left open."""
    found = unused_advice(record, model.backbone, spec) + drawn_advice(record.fresh, record.loaded, spec)
    return found + (() if shown else source_advice(spec, source))


def _checked_encoder(spec: Spec, place: Spec, model: Any) -> tuple[Encoder, tuple[Diagnostic, ...]]:
    """Return the encoder of the rows' inputs, once the model takes such rows, and advice about it."""
    _raise_errors(check_kinds(spec, model.backbone))
    check_recomputing(spec, model.backbone)
    encoder = encoder_for(place, model.backbone)
    advice = end_advice(spec, encoder) if isinstance(encoder, TextEncoder) else ()
    check_causal(spec, model)
    return encoder, advice


def _planned(
    inventory: Inventory,
    spec: Spec,
    shown: Plan | None,
    tasks: Sequence[TaskData],
    strategy: SharingStrategy,
) -> tuple[Plan, tuple[Diagnostic, ...]]:
    """Compile the plan, and say what is new of it, and what the data and the processes make of it."""
    plan = _compiled(inventory, spec, shown)
    advice = _new_advice(shown or plan, plan) + check_run(spec, plan, tasks)
    return plan, advice + check_strategy(spec, plan, strategy, inventory)


def _with_lengths(setup: Setup) -> Setup:
    """Let batches hold rows of similar length, where they should, and try images on the model."""
    phases, train = setup.phases, setup.data["train"]
    if setup.spec.train.length_buckets:
        phases = with_lengths(phases, {name: split.lengths for name, split in train.items()})
    _check_images(setup.spec, setup.model, setup.encoder, {**setup.data, STREAMED: setup.streams.samples})
    return replace(setup, phases=phases)


def _placed(setup: Setup) -> Setup:
    """Put the model where it runs, frozen as the plan's start says, and seed this process."""
    spec, plan, phases = setup.spec, setup.plan, setup.phases
    count, train = setup.ranks.count, {**setup.data["train"], **setup.streams.samples}
    model = setup.strategy.placed(setup.model, plan, setup.stacks)
    with spec.locations.attached():
        apply_freeze(model, plan)
    _raise_errors(check_single_rows(spec, model, setup.encoder, phases, train, count))
    warnings = setup.warnings + check_shared_statistics(model, phases, count)
    set_own_seed(spec.train.seed, setup.ranks)
    return replace(setup, model=model, warnings=warnings)


def _compiled(inventory: Inventory, spec: Spec, shown: Plan | None) -> Plan:
    """Compile the plan of the model that was loaded; it must be the one that was shown, if any was."""
    plan = compile_plan(inventory, spec)
    check_same_plan(shown or plan, plan, spec)
    if shown is None:
        check_foreign(spec, plan)
    return plan


def _encoded(
    tasks: Sequence[TaskData], encoder: Encoder, model: torch.nn.Module
) -> tuple[Data, tuple[Diagnostic, ...]]:
    """Encode all rows, and let go of what was read from files."""
    shared = SHARED.get()
    if shared is None:
        data = encoded_data(tasks, encoder)
        READER.forget()
    else:
        data = shared.encode(tasks, encoder)
    return data, notes_on_cuts(tasks, data, encoder, model.backbone)


def _check_processes(spec: Spec, count: int) -> None:
    """Refuse several processes where a batch is one whole: each would see a part of the negatives."""
    for index, task in enumerate(spec.task):
        if count > 1 and not task_kind(task).rowwise:
            message = (
                f"{count} processes would share each batch, and a task of kind {task.kind} needs it whole"
            )
            advice = "start one process, or leave the task out"
            raise spec.locations.error(("task", index, "kind"), "FP128", message, help=advice)


def _inventory(model: torch.nn.Module, record: LoadRecord, label: str, origin: str) -> Inventory:
    loaded = {without_parametrization(name, "")[0] for name in record.loaded}
    return inventory_of(model, label, origin=origin, loaded=loaded.__contains__)


def _new_advice(shown: Plan, plan: Plan) -> tuple[Diagnostic, ...]:
    """Return what only the loaded weights could tell: the shown plan's own advice was printed with it."""
    known = {(item.code, item.message) for item in shown.diagnostics}
    return tuple(item for item in plan.diagnostics if (item.code, item.message) not in known)


def _check_images(
    spec: Spec, model: torch.nn.Module, encoder: Encoder, data: Mapping[str, Mapping[str, EncodedSplit]]
) -> None:
    first = next((split.inputs for name in (*SPLITS, STREAMED) for split in data[name].values()), None)
    if isinstance(encoder, ImageEncoder) and first is not None:
        check_forward(spec, model, encoder, first)


def _raise_errors(items: Sequence[Diagnostic]) -> None:
    if any(item.is_error for item in items):
        raise DiagnosticError(items)
