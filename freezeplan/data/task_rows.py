"""The rows of every task, read and checked before anything is built or written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from freezeplan.data.checks import (
    check_columns,
    check_read_once,
    check_repeated,
)
from freezeplan.data.files import CONLL
from freezeplan.data.formats.row_source import Unreadable
from freezeplan.data.labels import unknown_labels
from freezeplan.data.reader import Lack, RowTable, columns_of, parts_of, read_split, targets_of
from freezeplan.data.split import Split, TaskData
from freezeplan.data.split_rows import check_rows, column_reports, kind_of_task, split_of
from freezeplan.data.spool import NoRoom
from freezeplan.data.streamed import StreamedRows, streamed_rows
from freezeplan.data.target_checks import check_outputs
from freezeplan.data.unlabelled import TEST, columns_fewer_than, hides_targets, lacks_targets, note_unlabelled
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import closest_or_all, in_quotes
from freezeplan.spec.streams import is_streamed
from freezeplan.spec.tables import Spec, Task
from freezeplan.tasks import task_kind

SPLITS = ("train", "validation", "test")


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


def load_split(
    spec: Spec, tasks: Collection[str], split: str, known: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[TaskData, ...], tuple[Diagnostic, ...]]:
    """Read and check one split of some tasks, whose outputs ``known`` names; see :func:`load_task_data`.

    A task without that split has no splits.
    """
    found: list[Diagnostic] = []
    try:
        read = [
            _load_task(spec, index, known, found, (split,))
            for index, task in enumerate(spec.task)
            if task.name in tasks
        ]
    except NoRoom as error:
        raise no_room(error) from None
    if any(item.is_error for item in found):
        raise DiagnosticError(found)
    return tuple(read), tuple(found)


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
    spec: Spec,
    index: int,
    known: Mapping[str, tuple[str, ...]],
    found: list[Diagnostic],
    wanted: Sequence[str] = SPLITS,
) -> TaskData:
    task = spec.task[index]
    found += _check_name(spec, index)
    splits: dict[str, Split] = {}
    lacks: list[Lack] = []
    streams = is_streamed(task)
    for name in wanted:
        if streams and name == "train":
            continue
        split = _load_split(spec, index, name, found, lacks)
        if split is not None:
            splits[name] = split
    kind = task_kind(task)
    seen = _outputs_in(task, splits)
    labels = tuple(task.labels or seen or known.get(task.name, ()))
    streamed = _streamed(spec, index, labels, found, lacks) if streams and "train" in wanted else None
    found += check_columns(lacks, column_reports(spec, index))
    unlabelled = _taken_out(task, splits, labels, found)
    found += check_outputs(task, labels, splits)
    found += _check_shared(splits)
    found += _check_weights(spec, index, labels)
    return TaskData(task.name, kind.over(labels), labels, splits, unlabelled, streamed)


def _streamed(
    spec: Spec, index: int, labels: tuple[str, ...], found: list[Diagnostic], lacks: list[Lack]
) -> StreamedRows | None:
    """Open the training rows of a task that are streamed; None, with what is wrong in ``found``, if they cannot be."""
    task = spec.task[index]
    if task_kind(task).takes_labels and not labels:
        found.append(unknown_labels(task, index, spec.locations))
        return None
    before = len(lacks)
    try:
        rows = streamed_rows(spec, index, labels, lacks)
        if len(lacks) == before:
            rows.first()
        return rows
    except DiagnosticError as error:
        found += error.diagnostics
        return None
    except Unreadable as problem:
        at = ("task", index, "data", "train")
        found.append(spec.locations.report(at, problem.code, problem.message, help=problem.help))
        return None


def _taken_out(
    task: Task, splits: dict[str, Split], labels: tuple[str, ...], found: list[Diagnostic]
) -> dict[str, Split]:
    """Take a test split without targets out of the splits, and note it; returns it under its name."""
    columns, hidden = [wanted.name for wanted in columns_of(task).targets], hides_targets(splits, labels)
    if TEST not in splits or not columns or (splits[TEST].targets and not hidden):
        return {}
    split = replace(splits.pop(TEST), targets=())
    found.append(note_unlabelled(split, columns, hidden))
    return {TEST: split}


def _check_weights(spec: Spec, index: int, labels: tuple[str, ...]) -> list[Diagnostic]:
    """Report weights of labels that a task has not."""
    weights = spec.task[index].class_weights or {}
    return [
        spec.locations.report(
            ("task", index, "class_weights", name),
            "FP459",
            f"`class_weights` names the label {in_quotes(name)}, which the task `{spec.task[index].name}` has not",
            help=closest_or_all(name, labels, "labels"),
        )
        for name in weights
        if labels and name not in labels
    ]


def _outputs_in(task: Task, splits: Mapping[str, Split]) -> tuple[str, ...]:
    """Return the names of a task's outputs that its columns, or its training rows, tell."""
    kind = task_kind(task)
    if task.data is None:
        return ()
    named = kind.named_by_columns(targets_of(task))
    if named is not None:
        return named
    return kind.declare(splits["train"].targets) if "train" in splits else ()


def _check_name(spec: Spec, index: int) -> list[Diagnostic]:
    name = spec.task[index].name
    if name not in kind_of_task(spec.task[index]).takes:
        return []
    message = f"a task cannot be named `{name}`: predictions hold the {name} under that name"
    return [spec.locations.report(("task", index, "name"), "FP464", message, help="rename it")]


def _load_split(
    spec: Spec, index: int, name: str, found: list[Diagnostic], lacks: list[Lack]
) -> Split | None:
    """Read and check one split of a task; None where it has none, or one that cannot be used.

    What is wrong goes into ``found``, and columns that are not there into ``lacks``: splits tend to lack the same.
    """
    data = spec.task[index].data
    report = partial(spec.locations.report, ("task", index, "data", name))
    try:
        table = read_split(spec, index, name)
    except Unreadable as problem:
        found.append(report(problem.code, problem.message, help=problem.help))
        return None
    if table is None or data is None:
        return None
    targets = columns_of(spec.task[index]).targets
    narrower = columns_fewer_than(_training_rows(spec, index, name), table, targets)
    unlabelled = name == TEST and (lacks_targets(table, targets) or bool(narrower))
    targets = () if unlabelled else targets
    read = {wanted.name for wanted in (*columns_of(spec.task[index]).inputs, *targets)}
    missing = [lack for lack in (*table.lacks, *narrower) if lack.name in read]
    if missing:
        lacks += missing
        return None
    problems = check_rows(table, spec.task[index], targets, name, report)
    found += problems + check_read_once(_read_again(spec, index, name), report)
    if any(item.is_error for item in problems):
        return None
    return split_of(table, spec.task[index], targets, report)


def _training_rows(spec: Spec, index: int, split: str) -> RowTable | None:
    """Return a task's training rows, beside another split of lines of words; None where there are none to read."""
    if split == "train" or not all(part.format is CONLL for part in parts_of(spec, index, split)):
        return None
    try:
        return read_split(spec, index, "train")
    except Unreadable:
        return None


def _read_again(spec: Spec, index: int, split: str) -> list[str]:
    """Name the files that a split reads more than once."""
    parts = parts_of(spec, index, split)
    times = Counter(part.signature for part in parts)
    return list({part.signature: part.name for part in parts if times[part.signature] > 1}.values())


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
