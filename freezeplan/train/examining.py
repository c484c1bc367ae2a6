"""Evaluates a finished run on its own test data, or on a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from freezeplan.data.column_options import at_options
from freezeplan.data.reader import READER
from freezeplan.data.split import TaskData
from freezeplan.data.streamed import not_read_whole
from freezeplan.data.task_rows import load_split
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import quoted
from freezeplan.models.run_record import home_of
from freezeplan.spec.reading import load_spec
from freezeplan.spec.streams import OF_STREAMS
from freezeplan.spec.tables import DataTable, Spec, Task
from freezeplan.tasks import task_kind
from freezeplan.train.encoded_rows import encoded_data, notes_on_cuts
from freezeplan.train.evaluation import count, in_full
from freezeplan.train.failures import explained
from freezeplan.train.forward import Forward
from freezeplan.train.predict import Asked, ready
from freezeplan.train.saved_run import SavedRun

TEST = "test"
OPTIONS = {"text_pair": "--pair-column", "label": "--label-column", "tags": "--label-column"}
ELSEWHERE = "name a file with `--data FILE`, or another split with `--split`"
Told = Callable[[str, int], None]


@dataclass(frozen=True)
class AskedRows:
    """Say which rows a run is evaluated on: those of its own ``split``, or of ``file``.

    The columns of a file are those that the run's data have, unless ``column``, ``pair_column`` (of what the model
    reads) or ``labels`` (of what is to be learned, in their order) name others.
    """

    split: str = TEST
    file: Path | None = None
    column: str | None = None
    pair_column: str | None = None
    labels: Sequence[str] = ()

    @property
    def name(self) -> str:
        """What people call them."""
        return self.split if self.file is None else str(self.file)


@dataclass(frozen=True)
class RunScores:
    """Hold what was counted of each task, in plain JSON types, and what is to be said of the rows."""

    tasks: Mapping[str, Mapping[str, Any]]
    diagnostics: tuple[Diagnostic, ...]


def evaluate_run(
    folder: Path,
    rows: AskedRows = AskedRows(),  # noqa: B008 - immutable
    tasks: Sequence[str] | None = None,
    told: Told = lambda task, rows: None,
) -> RunScores:
    """Evaluate a run, or a checkpoint of one, on rows with labels.

    Returns for each task (all that have such rows, or those that are named) the number of ``rows``, its ``metrics``,
    and what its kind reports besides. Raises ``DiagnosticError``: FP520 and FP521 for a folder that cannot be used,
    FP574 for a task that the run has not, FP576 where there are no rows or none has labels, the codes of data (FP452 to
    FP479) for rows that cannot be used, FP531 where the outputs are no numbers.
    """
    run, device = ready(folder)
    names = Asked(tasks).of(run)
    read, found = _read(run, rows, names)
    chosen = tuple(task for task in read if rows.split in task.splits)
    unlabelled = [task.name for task in read if task.unlabelled]
    if unlabelled and (tasks is not None or rows.file is not None or not chosen):
        raise _unlabelled(unlabelled, rows, found)
    if tasks is not None and len(chosen) < len(names) or not chosen:
        lacking = [name for name in names if name not in {task.name for task in chosen}]
        raise _streamed(lacking) if any(task.streamed for task in read) else _no_rows(rows, lacking)
    data = encoded_data(chosen, run.encoder)
    READER.forget()
    found += _left_out(rows, read) + notes_on_cuts(chosen, data, run.encoder, run.model.backbone)
    splits = data[rows.split]
    with explained():
        counted = count(Forward(run.model, run.encoder, device), splits, run.batch_size, told=told)
    scores = in_full(splits, counted)
    _check_finite(scores)
    return RunScores(scores, found)


def _read(
    run: SavedRun, rows: AskedRows, names: Sequence[str]
) -> tuple[tuple[TaskData, ...], tuple[Diagnostic, ...]]:
    """Read the rows of some tasks, their outputs in the order of the run's heads."""
    spec = load_spec(home_of(run.folder)[0] / "spec.toml")
    if rows.file is not None:
        spec = _over_file(spec, rows)
    try:
        read, found = load_split(spec, names, rows.split, run.labels)
    except DiagnosticError as error:
        raise error if rows.file is None else at_options(error, OPTIONS, "--column") from None
    fixed = (
        replace(task, labels=run.labels[task.name], kind=task.kind.over(run.labels[task.name]))
        for task in read
    )
    return tuple(fixed), found


def _over_file(spec: Spec, rows: AskedRows) -> Spec:
    """Return the tasks of a spec over the rows of a file; nothing of it points into the spec's text any more."""
    tasks = [task.model_copy(update={"data": _data_over(task, rows)}) for task in spec.task]
    return Spec.model_validate({}).model_copy(update={"task": tasks})


def _data_over(task: Task, rows: AskedRows) -> DataTable:
    usual = {"tokens": "tokens"} if task_kind(task).reads_words else {}
    data = task.data or DataTable.model_validate({TEST: "", **usual})
    update: dict[str, Any] = dict.fromkeys(("train", "validation", "hub", "subset", *OF_STREAMS))
    update["stream"] = False
    update[rows.split] = [str(rows.file.resolve())]
    given = zip(data.inputs, (rows.column, rows.pair_column), strict=False)
    update |= {key: name for key, name in given if name is not None}
    if rows.labels:
        update[data.target_key] = list(rows.labels) if data.target_key == "label" else rows.labels[0]
    return data.model_copy(update=update)


def _no_rows(rows: AskedRows, names: Sequence[str]) -> DiagnosticError:
    return DiagnosticError([diagnostic("FP576", _none_named(rows, names), help=ELSEWHERE)])


def _none_named(rows: AskedRows, names: Sequence[str]) -> str:
    return f"the run's spec names no {rows.split} data for {quoted(names)}"


def _left_out(rows: AskedRows, read: Sequence[TaskData]) -> tuple[Diagnostic, ...]:
    """Say which of the tasks that were read have no rows to be evaluated on, though nobody named them."""
    without = [task for task in read if rows.split not in task.splits and not task.unlabelled]
    streamed = [task.name for task in without if task.streamed]
    unnamed = [task.name for task in without if not task.streamed]
    said = [not_read_whole(streamed)] * bool(streamed) + [_none_named(rows, unnamed)] * bool(unnamed)
    return tuple(diagnostic("FP579", f"{what}: left out here", help=ELSEWHERE) for what in said)


def _streamed(names: Sequence[str]) -> DiagnosticError:
    return DiagnosticError([diagnostic("FP576", not_read_whole(names), help=ELSEWHERE)])


def _unlabelled(names: Sequence[str], rows: AskedRows, found: Sequence[Diagnostic]) -> DiagnosticError:
    message = f"there are no labels for {quoted(names)} in {rows.name}"
    advice = "name a file with labels with `--data FILE`, or ask for answers with `freezeplan predict`"
    if rows.file is not None:
        advice = "name the columns that hold them with `--label-column`"
    notes = [item.message for item in found if item.code == "FP487"]
    return DiagnosticError([diagnostic("FP576", message, help=advice, notes=notes)])


def _check_finite(scores: Mapping[str, Mapping[str, Any]]) -> None:
    for task, found in scores.items():
        loss = found["metrics"].get("loss", 0.0)
        if not isfinite(loss):
            message = f"the model gives no numbers for task `{task}`: its loss is {loss}"
            advice = "train again with lower rates; of float16, prefer bfloat16 or float32"
            raise DiagnosticError([diagnostic("FP531", message, help=advice)])
