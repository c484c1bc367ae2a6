"""What can be known of a run without its weights: its data read, encoded and laid out as training would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freezeplan.apply.recomputing import check_layers
from freezeplan.data.encoder import Encoder
from freezeplan.data.modality import check_kinds
from freezeplan.data.split import TaskData
from freezeplan.data.task_rows import SPLITS, check_training_data, load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.models.build import build_meta_model
from freezeplan.models.resolve import resolve_source
from freezeplan.plan.learning import tasks_that_ever_learn
from freezeplan.plan.optimizers import optimizer_table
from freezeplan.plan.records import Plan
from freezeplan.spec.tables import Spec
from freezeplan.train.balancing import check_balancing
from freezeplan.train.encoded_rows import (
    cut_of,
    encoded_data,
    encoder_for,
    notes_on_cuts,
    with_labels,
)
from freezeplan.train.encoding import TextEncoder
from freezeplan.train.language import end_advice
from freezeplan.train.scheduling import check_warmups, schedule_phases
from freezeplan.train.streaming import StreamedTask
from freezeplan.train.tracking import check_trackers
from freezeplan.train.unlabelled import encoded_unlabelled


@dataclass(frozen=True)
class SplitRead:
    """Count the rows of one split of one task, and its texts that are cut at ``max_length``.

    Where rows are ``streamed``, these are the first of them.
    """

    rows: int
    cut: int
    streamed: bool = False


@dataclass(frozen=True)
class DataRead:
    """Hold what reading a spec's data gave: each task's splits, and warnings and notes."""

    tasks: Mapping[str, Mapping[str, SplitRead]]
    diagnostics: tuple[Diagnostic, ...]


def check_data(spec: Spec, plan: Plan) -> DataRead:
    """Read and check what ``train`` would: files, columns, labels, tokens, images, and the schedule over them.

    No weights are read, and of streamed rows the first ones. Raises ``DiagnosticError`` with what makes a run
    impossible.
    """
    source = resolve_source(spec)
    known = {name: task.labels for name, task in source.run.tasks.items()} if source.run else {}
    tasks, found = load_task_data(spec, known, tasks_that_ever_learn(spec, plan))
    labels = {task.name: task.labels for task in tasks}
    model = build_meta_model(source, with_labels(spec, tasks), labels)
    found += check_run(spec, plan, tasks)
    _raise_errors((*found, *check_kinds(spec, model.backbone)))
    check_recomputing(spec, model.backbone)
    encoder = encoder_for(spec, model.backbone)
    encoded_unlabelled(tasks, encoder)
    data = encoded_data(tasks, encoder)
    found += notes_on_cuts(tasks, data, encoder, model.backbone)
    found += end_advice(spec, encoder) if isinstance(encoder, TextEncoder) else ()
    read = {
        task.name: _streamed(task, encoder)
        | {
            split: SplitRead(len(data[split][task.name]), cut_of(data[split][task.name]))
            for split in SPLITS
            if split in task.splits
        }
        for task in tasks
    }
    return DataRead(read, found)


def _streamed(task: TaskData, encoder: Encoder) -> dict[str, SplitRead]:
    """Check the tokens of the first rows of a task that streams its rows."""
    if task.streamed is None:
        return {}
    count = task.streamed.stream.first_block()
    split = StreamedTask(task.name, task.streamed, task.kind, encoder).encoded(0, count)
    return {"train": SplitRead(count, cut_of(split), streamed=True)}


def check_run(spec: Spec, plan: Plan, tasks: Sequence[TaskData]) -> tuple[Diagnostic, ...]:
    """Return warnings about a plan laid out over its data; raises ``DiagnosticError`` where it cannot run.

    That is: a task that learns without training data (FP451), an optimizer that cannot be stepped (FP402), a
    balancing or a tracker whose library is not there (FP436, FP497), a metric
    of another trainer's (FP133), nothing to do (FP469).
    """
    _raise_errors(check_training_data(spec, tasks_that_ever_learn(spec, plan)))
    _check_optimizer(spec, plan)
    _check_metrics(spec)
    check_balancing(spec)
    check_trackers(spec)
    _check_purpose(spec, plan, tasks)
    return check_warmups(spec, plan, schedule_phases(spec, plan, training_rows(tasks)))


def training_rows(tasks: Sequence[TaskData]) -> dict[str, int]:
    """Return the number of training rows of each task that has some."""
    return {task.name: rows for task in tasks if (rows := task.training_rows) is not None}


def _check_optimizer(spec: Spec, plan: Plan) -> None:
    """Refuse an optimizer whose step calls back for the loss: a step here is one pass over its batches."""
    for item in plan.working:
        facts = optimizer_table().get(item.name.lower())
        if facts is not None and facts.demand == "a closure":
            message = f"{facts.name} asks for {facts.demand} at each step; this trainer has none"
            advice = "use another optimizer, such as `adamw`"
            raise spec.locations.error((*item.path, "name"), "FP402", message, help=advice)


def _check_metrics(spec: Spec) -> None:
    """Refuse a metric that another trainer reports: this one never measures it."""
    phases = [(("phase", place), phase.until) for place, phase in enumerate(spec.phase)]
    phases += [(("gradual",), spec.gradual.until)] if spec.gradual else []
    for path, until in phases:
        if until is not None and until.mode is not None:
            message = (
                f"`{until.metric}` is what another trainer reports: `freezeplan train` never measures it"
            )
            advice = "name a metric of a task, and leave `mode` out"
            raise spec.locations.error((*path, "until", "metric"), "FP133", message, help=advice)


def check_recomputing(spec: Spec, backbone: Any) -> None:
    """Refuse to run layers again in the backward pass where the model has none that can (FP488)."""
    if spec.train.gradient_checkpointing:
        with spec.locations.attached():
            check_layers(backbone)


def _check_purpose(spec: Spec, plan: Plan, tasks: Sequence[TaskData]) -> None:
    if not plan.groups and not any(task.splits.keys() & {"validation", "test"} for task in tasks):
        message = "everything is frozen and no task has validation or test data: there is nothing to do"
        advice = "make something trainable, or give the tasks data to be evaluated on"
        raise spec.locations.error(("task",), "FP469", message, help=advice)


def _raise_errors(items: Sequence[Diagnostic]) -> None:
    if any(item.is_error for item in items):
        raise DiagnosticError(items)
