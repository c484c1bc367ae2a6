"""The rows of every task, read and checked before anything is built or written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy

from freezeplan.data.checks import (
    Report,
    check_alike,
    check_classes,
    check_columns,
    check_inputs,
    check_known,
    check_labels,
    check_measured,
    check_read_once,
    check_repeated,
    check_scale,
)
from freezeplan.data.columns import Images, Labels, Texts, texts_of
from freezeplan.data.formats.row_source import Unreadable
from freezeplan.data.modality import KINDS, TEXT, Kind
from freezeplan.data.places import Places
from freezeplan.data.reader import RowTable, parts_of, read_split, wanted_of
from freezeplan.data.spool import NoRoom
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.spec.tables import DataTable, Spec, Task

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Hold the rows of one split: texts or images, their labels as text, and where each of them stands.

    ``source`` is the name people know it by; ``report`` points a diagnostic at the key that names it.
    """

    kind: Kind
    column: str
    inputs: Texts | Images
    labels: Labels
    source: str
    places: Places
    report: Report

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TaskData:
    """Hold a task's labels in the order of its head's outputs, and its splits (those it has)."""

    name: str
    labels: tuple[str, ...]
    splits: Mapping[str, Split]

    def without_inputs(self) -> TaskData:
        """Return the task without its texts or images, which nobody needs once they are encoded."""
        splits = {name: replace(split, inputs=texts_of([])) for name, split in self.splits.items()}
        return replace(self, splits=splits)

    def classes(self, split: str) -> numpy.ndarray:
        """Return the class number of each row of a split, as 64-bit numbers."""
        return self.splits[split].labels.numbered(self.labels)


def load_task_data(
    spec: Spec, known: Mapping[str, tuple[str, ...]] | None = None, learning: Collection[str] = ()
) -> tuple[tuple[TaskData, ...], tuple[Diagnostic, ...]]:
    """Read and check the rows of every task of a spec.

    A task's labels are those of the spec, else the sorted labels of its training data as text, else those
    that ``known`` holds for it (a run's folder fixed them). A task named in ``learning`` needs training data.
    Returns the tasks in the order of the spec, and warnings. Raises ``DiagnosticError`` with every
    problem of every task at once (FP450 to FP463, FP471), or FP490 where the temporary folder is full.
    """
    if not spec.task:
        message = "the spec has no `[[task]]`: there is nothing to train"
        raise spec.locations.error(("task",), "FP450", message, help="add a task")
    found = list(check_training_data(spec, learning))
    try:
        tasks = [_load_task(spec, index, known or {}, found) for index in range(len(spec.task))]
    except NoRoom as error:
        raise no_room(error) from None
    if any(item.is_error for item in found):
        raise DiagnosticError(found)
    return tuple(tasks), tuple(found)


def no_room(error: NoRoom) -> DiagnosticError:
    """Return the error for a temporary folder that is full."""
    advice = "free some space, or set TMPDIR to a folder on another disk"
    return DiagnosticError([diagnostic("FP490", f"the data do not fit: {error}", help=advice)])


def check_training_data(spec: Spec, learning: Collection[str]) -> tuple[Diagnostic, ...]:
    """Report each task in ``learning`` that has no ``data.train``."""
    return tuple(
        spec.locations.report(
            ("task", index, "data"),
            "FP451",
            f"task `{task.name}` has no training data",
            help='write data = { train = "train.jsonl", … } in the task, or freeze everything to evaluate',
        )
        for index, task in enumerate(spec.task)
        if task.name in learning and (task.data is None or task.data.train is None)
    )


def _load_task(
    spec: Spec, index: int, known: Mapping[str, tuple[str, ...]], found: list[Diagnostic]
) -> TaskData:
    task = spec.task[index]
    found += _check_name(spec, index)
    splits = {}
    for name in SPLITS:
        split = _load_split(spec, index, name, found)
        if split is not None:
            splits[name] = split
    seen = splits["train"].labels.sorted_names if "train" in splits else ()
    labels = tuple(task.labels or seen or known.get(task.name, ()))
    found += _check_task(task, labels, splits, bool(task.labels))
    return TaskData(task.name, labels, splits)


def _check_name(spec: Spec, index: int) -> list[Diagnostic]:
    name = kind_of_task(spec.task[index]).name
    if spec.task[index].name != name:
        return []
    message = f"a task cannot be named `{name}`: predictions hold the {name} under that name"
    return [spec.locations.report(("task", index, "name"), "FP464", message, help="rename it")]


def _load_split(spec: Spec, index: int, name: str, found: list[Diagnostic]) -> Split | None:
    data = spec.task[index].data
    report = partial(spec.locations.report, ("task", index, "data", name))
    try:
        table = read_split(spec, index, name)
    except Unreadable as problem:
        found.append(report(problem.code, problem.message, help=problem.help))
        return None
    if table is None or data is None:
        return None
    problems = check_columns(table.lacks, _column_reports(spec, index, data))
    if problems:
        found += problems
        return None
    problems = _check_rows(table, data, report)
    found += problems + check_read_once(_read_again(spec, index, name), report)
    return None if any(item.is_error for item in problems) else _split(table, data, report)


def _read_again(spec: Spec, index: int, split: str) -> list[str]:
    """Name the files that a split reads more than once."""
    parts = parts_of(spec, index, split)
    times = Counter(part.signature for part in parts)
    return list({part.signature: part.name for part in parts if times[part.signature] > 1}.values())


def _column_reports(spec: Spec, index: int, data: DataTable) -> dict[str, Report]:
    keys = {data.column: data.kind, data.label: "label"}
    return {
        column: partial(spec.locations.report, ("task", index, "data", key)) for column, key in keys.items()
    }


def _check_rows(table: RowTable, data: DataTable, report: Report) -> list[Diagnostic]:
    inputs, labels = (table.columns[wanted] for wanted in wanted_of(data))
    kind, column, source, places = KINDS[data.kind], data.column, table.source, table.places
    return [
        *check_inputs(inputs.flaws, kind, column, source, places, report),
        *([] if inputs.flaws else check_scale(inputs.bright, column, source, report)),
        *check_labels(labels.flaws, data.label, source, places, report),
    ]


def _split(table: RowTable, data: DataTable, report: Report) -> Split:
    inputs, labels = (table.columns[wanted].values for wanted in wanted_of(data))
    assert isinstance(labels, Labels) and not isinstance(inputs, Labels)
    return Split(KINDS[data.kind], data.column, inputs, labels, table.source, table.places, report)


def kind_of_task(task: Task) -> Kind:
    """Return what a task's rows hold for the model to read."""
    return KINDS[task.data.kind] if task.data is not None else TEXT


def _check_task(
    task: Task, labels: tuple[str, ...], splits: Mapping[str, Split], declared: bool
) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    train = splits.get("train")
    for split in splits.values():
        if labels:
            found += check_known(split.labels, labels, split.source, split.places, declared, split.report)
    # Labels that are not known are the cause of those that are missing.
    if train is not None and not (declared and found):
        found += check_classes(train.labels.names, labels, declared, train.source, train.report)
    if train is not None and not declared and task.data is not None:
        found += check_measured(labels, task.data.label, train.source, train.report)
    if splits:
        found += check_alike(labels, next(iter(splits.values())).report)
    return found + _check_shared(splits)


def _check_shared(splits: Mapping[str, Split]) -> list[Diagnostic]:
    others = [split for name, split in splits.items() if name != "train"]
    if "train" not in splits or not others:
        return []
    known = splits["train"].inputs.keys()
    return [
        item
        for split in others
        for item in check_repeated(
            known, split.inputs.keys(), split.kind.plural, split.source, split.places, split.report
        )
    ]
