"""Finds the labels of each task: from the spec, from a small look at its training data, or from a run."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.diagnostics.wording import closest, first_line
from freezeplan.spec.locations import KeyPath, Locations
from freezeplan.spec.tables import DataTable, Spec, Task

JSON_LINES = (".jsonl", ".json", ".ndjson")
SEPARATED = {".csv": ",", ".tsv": "\t"}
NO_RUN: Mapping[str, tuple[str, ...]] = {}
Found = tuple[tuple[str, ...] | None, Diagnostic | None]


COLUMNAR = (".parquet",)
# The csv module refuses longer fields than 128 KiB unless told; a text may be longer.
LONGEST_FIELD = 1 << 30


class UnreadableLabels(Exception):
    """Say in plain words why the labels cannot be read from a file."""


def sorted_labels(values: Iterable[Any]) -> tuple[str, ...]:
    """Return the distinct labels as strings, sorted as strings: the order of a head's outputs.

    >>> sorted_labels([10, 2, "a", 2])
    ('10', '2', 'a')
    """
    return tuple(sorted({str(value) for value in values}))


def labels_of(spec: Spec, run: Mapping[str, tuple[str, ...]] = NO_RUN) -> dict[str, tuple[str, ...]]:
    """Return the labels of every task, in the order of its head's outputs.

    They are the task's ``labels``, else the sorted distinct labels of its training file where that can be
    read, else those of the same task in ``run``, which maps the tasks of a finished run to their labels.
    Raises ``DiagnosticError`` with a finding per task that has none (FP161), whose file cannot be used (FP162),
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
    path = training_file(task.data, spec, index)
    if path is None or not path.is_file():
        return (trained, None) if trained else (None, _unknown(task, index, path, spec.locations))
    assert task.data is not None
    try:
        labels = sorted_labels(read_labels(path, task.data.label))
        if not labels:
            raise UnreadableLabels(f"`{path.name}` has no rows")
        return labels, None
    except UnreadableLabels as problem:
        return None, _unreadable(task, index, str(problem), spec.locations)


def training_file(data: DataTable | None, spec: Spec, index: int) -> Path | None:
    """Return the path of a task's training file when it is a kind that can be read here, else None."""
    if data is None or data.train is None or data.hub is not None:
        return None
    start = spec.locations.directory_of(("task", index, "data", "train")) or Path()
    path = start / os.path.expanduser(data.train)
    return path if path.suffix.lower() in (*JSON_LINES, *SEPARATED, *COLUMNAR) else None


def _unknown(task: Task, index: int, path: Path | None, locations: Locations) -> Diagnostic:
    at: KeyPath = ("task", index, "data", "train") if path else ("task", index)
    message = f"the labels of the task `{task.name}` are not known: {_why_unknown(task.data, path)}"
    advice = 'write them: `labels = ["…", "…"]`'
    return locations.report(at, "FP161", message, help=advice)


def _why_unknown(data: DataTable | None, path: Path | None) -> str:
    if data is not None and data.hub is not None:
        return f"the hub dataset `{data.hub}` is not asked for them"
    if data is not None and data.train is not None:
        kind = "does not exist" if path else "is of no kind that they are read from"
        return f"its training file `{data.train}` {kind}"
    return "nothing here says"


def _unreadable(task: Task, index: int, why: str, locations: Locations) -> Diagnostic:
    at = ("task", index, "data", "label" if "column" in why else "train")
    message = f"the labels of the task `{task.name}` cannot be read: {why}"
    return locations.report(at, "FP162", message, help="correct the file, or write the task's `labels`")


def _check(
    task: Task, index: int, labels: tuple[str, ...], locations: Locations, run: Mapping[str, tuple[str, ...]]
) -> Diagnostic | None:
    at = ("task", index, "labels" if task.labels is not None else "data")
    if len(labels) < 2:
        has = f"only the label `{labels[0]}`" if labels else "no labels"
        advice = "a classification task needs two labels or more"
        return locations.report(at, "FP163", f"the task `{task.name}` has {has}", help=advice)
    trained = run.get(task.name)
    if trained is not None and trained != labels:
        message = f"the task `{task.name}` has other labels than the head in the run that `source` names"
        advice = f"use the run's, in its order ({', '.join(trained)}), or give the task another name"
        return locations.report(at, "FP165", message, help=advice)
    return None


def read_labels(path: Path, column: str) -> Iterator[Any]:
    """Yield the label of every row of a JSON (lines or one array), CSV, TSV or Parquet file.

    Raises :class:`UnreadableLabels`, with the line, for rows that are not JSON, have no such column or no label.
    """
    rows = _rows(path, column)
    try:
        for line, row in rows:
            yield _label(row, column, path.name, line)
    except UnicodeDecodeError:
        raise UnreadableLabels(f"`{path.name}` is not UTF-8 text") from None
    except (OSError, csv.Error) as error:
        raise UnreadableLabels(f"`{path.name}`: {error}") from None


def _label(row: dict[str, Any], column: str, name: str, line: int) -> Any:
    if column not in row:
        hint = (
            closest(column, [key for key in row if key]) or f"it has {', '.join(f'`{key}`' for key in row)}"
        )
        raise UnreadableLabels(f"line {line} of `{name}` has no column `{column}`; {hint}")
    value = row[column]
    if value is None or value == "" or isinstance(value, (list, dict)):
        raise UnreadableLabels(f"line {line} of `{name}` has no single label in its column `{column}`")
    return value


def _rows(path: Path, column: str) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = path.suffix.lower()
    if suffix in SEPARATED:
        return _separated(path)
    return _columnar(path, column) if suffix in COLUMNAR else _json_lines(path)


def _columnar(path: Path, column: str) -> Iterator[tuple[int, dict[str, Any]]]:
    from pyarrow import ArrowException, parquet

    try:
        names = parquet.read_schema(path).names
        table = parquet.read_table(path, columns=[column] if column in names else [])
        rows = table.to_pylist() if column in names else [dict.fromkeys(names)]
    except (ArrowException, ValueError) as error:
        raise UnreadableLabels(f"`{path.name}`: {first_line(error)}") from None
    yield from enumerate(rows, 1)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        if path.suffix.lower() == ".json" and file.read(4096).lstrip().startswith("["):
            file.seek(0)
            yield from enumerate(_json_array(file.read().removeprefix("\ufeff"), path.name), 1)
            return
        file.seek(0)
        for line, text in enumerate(file, 1):
            if text.strip():
                yield line, _json_row(text, path.name, line)


def _json_array(text: str, name: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableLabels(f"`{name}` is not JSON: {first_line(error)}") from None
    odd = next((number for number, row in enumerate(rows, 1) if not isinstance(row, dict)), None)
    if odd is not None:
        raise UnreadableLabels(f"row {odd} of `{name}` is not a JSON object")
    return rows


def _json_row(text: str, name: str, line: int) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise UnreadableLabels(f"line {line} of `{name}` is not a JSON object")
    return row


def _separated(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=SEPARATED[path.suffix.lower()])
            for row in reader:
                yield reader.line_num, row
    finally:
        csv.field_size_limit(limit)
