"""The rows of every task, read and checked before anything is built or written."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets

from freezeplan.data.checks import (
    check_alike,
    check_classes,
    check_columns,
    check_inputs,
    check_known,
    check_labels,
    check_repeated,
    check_scale,
    text_flaw,
)
from freezeplan.data.findings import Spot, spot
from freezeplan.data.images import image_flaw, image_key, located
from freezeplan.data.labels import sorted_labels
from freezeplan.data.modality import IMAGE, KINDS, TEXT, Kind
from freezeplan.data.tabular import Unreadable, columns, read_file, read_hub
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.spec.tables import Spec, Task

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Hold the rows of one split: texts or images, their labels as text, and the name people know it by."""

    kind: Kind
    column: str
    inputs: list[Any]
    labels: list[str]
    source: str
    spot: Spot

    @property
    def keys(self) -> list[Any]:
        """What equal inputs have in common, row by row."""
        return [image_key(value) for value in self.inputs] if self.kind is IMAGE else self.inputs


@dataclass(frozen=True)
class TaskData:
    """Hold a task's labels in the order of its head's outputs, and its splits (those it has)."""

    name: str
    labels: tuple[str, ...]
    splits: Mapping[str, Split]

    def classes(self, split: str) -> list[int]:
        """Return the class number of each row of a split."""
        number = {label: index for index, label in enumerate(self.labels)}
        return [number[label] for label in self.splits[split].labels]


@dataclass
class _Findings:
    """Collect diagnostics over all tasks, and files that are read once though several tasks share them."""

    items: list[Diagnostic] = field(default_factory=list)
    files: dict[Path, datasets.Dataset] = field(default_factory=dict)

    def read(self, path: Path) -> datasets.Dataset:
        if path not in self.files:
            self.files[path] = read_file(path)
        return self.files[path]


def load_task_data(
    spec: Spec, known: Mapping[str, tuple[str, ...]] | None = None, learning: Collection[str] = ()
) -> tuple[tuple[TaskData, ...], tuple[Diagnostic, ...]]:
    """Read and check the rows of every task of a spec.

    A task's labels are those of the spec, else the sorted labels of its training data as text, else those
    that ``known`` holds for it (a run's folder fixed them). A task named in ``learning`` needs training data.
     Returns the tasks in the order of the spec, and warnings. Raises ``DiagnosticError`` with every
    problem of every task at once (FP450 to FP463).
    """
    findings = _Findings()
    if not spec.task:
        where = spot(spec, ("task",))
        raise DiagnosticError(
            [
                where.report(
                    "FP450", "the spec has no `[[task]]`: there is nothing to train", help="add a task"
                )
            ]
        )
    findings.items += check_training_data(spec, learning)
    tasks = [
        _load_task(spec, index, (known or {}).get(task.name, ()), findings)
        for index, task in enumerate(spec.task)
    ]
    if any(item.is_error for item in findings.items):
        raise DiagnosticError(findings.items)
    return tuple(tasks), tuple(findings.items)


def check_training_data(spec: Spec, learning: Collection[str]) -> tuple[Diagnostic, ...]:
    """Report each task in ``learning`` that has no ``data.train``."""
    return tuple(
        spot(spec, ("task", index, "data")).report(
            "FP451",
            f"task `{task.name}` has no training data",
            help='write data = { train = "train.jsonl", … } in the task, or freeze everything to evaluate',
        )
        for index, task in enumerate(spec.task)
        if task.name in learning and (task.data is None or task.data.train is None)
    )


def _load_task(spec: Spec, index: int, known: tuple[str, ...], findings: _Findings) -> TaskData:
    task = spec.task[index]
    if task.name == _kind(task).name:
        findings.items.append(
            spot(spec, ("task", index, "name")).report(
                "FP464",
                f"a task cannot be named `{task.name}`: predictions hold the {task.name} under that name",
                help="rename it",
            )
        )
    splits = {}
    for name in SPLITS:
        if task.data is not None and getattr(task.data, name) is not None:
            split = _load_split(spec, index, name, findings)
            if split is not None:
                splits[name] = split
    seen = sorted_labels(splits["train"].labels) if "train" in splits else ()
    labels = tuple(task.labels or seen or known)
    findings.items += _check_task(task, labels, splits, bool(task.labels))
    return TaskData(task.name, labels, splits)


def _load_split(spec: Spec, index: int, name: str, findings: _Findings) -> Split | None:
    data, place = spec.task[index].data, spot(spec, ("task", index, "data", name))
    try:
        rows, path = _read(spec, index, name, findings)
        source = path.name if path else f"{data.hub}, split {name}"
        wanted = {
            data.column: ("task", index, "data", data.kind),
            data.label: ("task", index, "data", "label"),
        }
        spots = {column: spot(spec, where) for column, where in wanted.items()}
        problems = check_columns(spots, rows.column_names, source)
        values = {} if problems else columns(rows, [data.column, data.label], path)
    except Unreadable as problem:
        findings.items.append(place.report(problem.code, problem.message, help=problem.help))
        return None
    if problems:
        findings.items += problems
        return None
    labels = [str(label) for label in values[data.label]]
    split = _split(_kind(spec.task[index]), data.column, values[data.column], labels, source, place, path)
    problems = [*_check_inputs(split), *check_labels(values[data.label], data.label, source, place)]
    findings.items += problems
    return None if any(item.is_error for item in problems) else split


def _split(
    kind: Kind, column: str, values: list[Any], labels: list[str], source: str, place: Spot, path: Path | None
) -> Split:
    if kind is IMAGE:
        values = [located(value, path.parent if path else None) for value in values]
    return Split(kind, column, values, labels, source, place)


def _check_inputs(split: Split) -> list[Diagnostic]:
    flaw = image_flaw if split.kind is IMAGE else text_flaw
    flaws = {row: found for row, value in enumerate(split.inputs, 1) if (found := flaw(value)) is not None}
    found = check_inputs(flaws, split.kind, split.column, split.source, split.spot)
    if split.kind is IMAGE and not found:
        found += check_scale(split.inputs, split.column, split.source, split.spot)
    return found


def _kind(task: Task) -> Kind:
    return KINDS[task.data.kind] if task.data is not None else TEXT


def _read(spec: Spec, index: int, name: str, findings: _Findings) -> tuple[datasets.Dataset, Path | None]:
    data = spec.task[index].data
    if data.hub is not None:
        return read_hub(data.hub, data.subset, getattr(data, name)), None
    directory = spec.locations.directory_of(("task", index, "data", name)) or Path.cwd()
    path = directory / os.path.expanduser(getattr(data, name))
    return findings.read(path), path


def _check_task(
    task: Task, labels: tuple[str, ...], splits: Mapping[str, Split], declared: bool
) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    train = splits.get("train")
    if train is not None:
        found += check_classes(train.labels, labels, declared, train.source, train.spot)
    if splits:
        found += check_alike(labels, next(iter(splits.values())).spot)
    for name, split in splits.items():
        if labels:
            found += check_known(split.labels, labels, split.source, declared, split.spot)
        if train is not None and name != "train":
            found += check_repeated(train.keys, split.keys, split.kind.plural, split.source, split.spot)
    return found
