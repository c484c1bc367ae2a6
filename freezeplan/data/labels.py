"""Finds the labels of each task: from the spec, from its training data, or from a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from freezeplan.data.formats.row_source import Unreadable
from freezeplan.data.reader import RowTable, columns_of, read_split, targets_of
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.diagnostics.wording import MOST_NAMES, closest, in_quotes, some
from freezeplan.spec.locations import KeyPath, Locations
from freezeplan.spec.streams import is_streamed
from freezeplan.spec.tables import Spec, Task
from freezeplan.tasks import task_kind

NO_RUN: Mapping[str, tuple[str, ...]] = {}
COLUMN = 'write `{} = "…"` with the name of the column that holds the {}'
# What stands in the way of finding the rows, not of reading them.
NOT_HERE = ("FP452", "FP453", "FP463")
Found = tuple[tuple[str, ...] | None, Diagnostic | None]


def sorted_labels(values: Iterable[Any]) -> tuple[str, ...]:
    """Return the distinct labels as strings, sorted as strings: the order of a head's outputs.

    >>> sorted_labels([10, 2, "a", 2])
    ('10', '2', 'a')
    """
    return tuple(sorted({str(value) for value in values}))


def labels_of(spec: Spec, run: Mapping[str, tuple[str, ...]] = NO_RUN) -> dict[str, tuple[str, ...]]:
    """Return the labels of every task, in the order of its head's outputs.

    They are the task's ``labels``, else the sorted distinct labels of its training data where that can be
    read, else those of the same task in ``run``, which maps the tasks of a finished run to their labels.
    Raises ``DiagnosticError`` with a finding per task that has none (FP161), whose data cannot be used (FP162),
    that has fewer than two (FP163) or not the run's (FP165).
    """
    found: dict[str, tuple[str, ...]] = {}
    problems: list[Diagnostic] = []
    for index, task in enumerate(spec.task):
        labels, problem = _labels(task, index, spec, run)
        problem = problem or _check(task, index, labels or (), spec.locations, run)
        problems += [problem] if problem else []
        found[task.name] = labels or ()
    if problems:
        raise DiagnosticError(problems)
    return found


def _labels(task: Task, index: int, spec: Spec, run: Mapping[str, tuple[str, ...]]) -> Found:
    if task.labels is not None:
        return tuple(task.labels), None
    trained = run.get(task.name)
    named = task_kind(task).named_by_columns(targets_of(task))
    if named is not None:
        return (trained if trained and task.data is None else named), None
    if is_streamed(task):
        return (trained, None) if trained else (None, unknown_labels(task, index, spec.locations))
    try:
        table = read_split(spec, index, "train", targets_only=True)
    except Unreadable as problem:
        if problem.code not in NOT_HERE:
            at = ("task", index, "data", "train")
            return None, _unreadable(task, at, problem.message, spec.locations, problem.help)
        return (trained, None) if trained else (None, _unknown(task, index, problem, spec.locations))
    if table is None:
        return (trained, None) if trained else (None, _unknown(task, index, None, spec.locations))
    return _labels_in(table, task, index, spec.locations)


def _labels_in(table: RowTable, task: Task, index: int, locations: Locations) -> Found:
    # Only where rows are read: a plan alone is shown without numpy.
    from freezeplan.data.builders import WANTED

    at, targets = ("task", index, "data", task.data.target_key), columns_of(task).targets
    for wanted in targets:
        lack = next((item for item in table.lacks if item.name == wanted.name), None)
        if lack is not None:
            hint = closest(wanted.name, lack.present) or f"it has {some(lack.present, 20) or 'no columns'}"
            why = f"`{lack.file}` has no column `{wanted.name}`; {hint}"
            key = task.data.target_key
            advice = COLUMN.format(key, "labels" if key == "label" else key)
            return None, _unreadable(task, at, why, locations, advice)
        for what, rows in table.columns[wanted].flaws.items():
            where = table.places.phrase(rows.rows, rows.count)
            why = f"column `{wanted.name}` of `{table.source}` holds {what} in {where}"
            return None, _unreadable(task, at, why, locations, WANTED[wanted.role])
    return task_kind(task).declare([table.columns[wanted].values for wanted in targets]), None


def unknown_labels(task: Task, index: int, locations: Locations) -> Diagnostic:
    """Return the error for a task whose rows are streamed and whose labels nothing says."""
    why = "its rows are streamed, and not looked through for them"
    message = f"the labels of the task `{task.name}` are not known: {why}"
    advice = 'write them: `labels = ["…", "…"]`'
    return locations.report(("task", index, "data", "stream"), "FP161", message, help=advice)


def _unknown(task: Task, index: int, problem: Unreadable | None, locations: Locations) -> Diagnostic:
    at: KeyPath = ("task", index, "data", "train") if problem else ("task", index)
    why = problem.message if problem else "nothing here says"
    message = f"the labels of the task `{task.name}` are not known: {why}"
    advice = 'write them: `labels = ["…", "…"]`'
    hint = (
        f"{problem.help}; or {advice.replace('write them', 'write the labels')}"
        if problem and problem.help
        else advice
    )
    return locations.report(at, "FP161", message, help=hint)


def _unreadable(
    task: Task, at: KeyPath, why: str, locations: Locations, advice: str | None = None
) -> Diagnostic:
    message = f"the labels of the task `{task.name}` cannot be read: {why}"
    hint = advice or "correct the file, or write the task's `labels`"
    return locations.report(at, "FP162", message, help=hint)


def _check(
    task: Task, index: int, labels: tuple[str, ...], locations: Locations, run: Mapping[str, tuple[str, ...]]
) -> Diagnostic | None:
    at = ("task", index, "labels" if task.labels is not None else "data")
    kind = task_kind(task)
    if len(labels) < kind.fewest:
        has = f"only the label {in_quotes(labels[0])}" if labels else "no labels"
        advice = f"a {kind.name} task needs {'two labels' if kind.fewest == 2 else 'one label'} or more"
        return locations.report(at, "FP163", f"the task `{task.name}` has {has}", help=advice)
    trained = run.get(task.name)
    if trained is not None and trained != labels:
        message = f"the task `{task.name}` has other labels than the head in the run that `source` names"
        advice = f"use the run's, in its order ({some(trained, MOST_NAMES)}), or give the task another name"
        return locations.report(at, "FP165", message, help=advice)
    return None
