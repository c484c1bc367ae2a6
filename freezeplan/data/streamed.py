"""The training rows of a task that are streamed: opened and looked at before a run, read and checked during it."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from freezeplan.data.builders import BUILDERS
from freezeplan.data.checks import Report
from freezeplan.data.files import DataFile
from freezeplan.data.formats.hub_set import hub_origin
from freezeplan.data.formats.row_source import Unreadable
from freezeplan.data.places import FilePlaces, Places
from freezeplan.data.reader import (
    HubSplit,
    Lack,
    Part,
    RowTable,
    TaskColumns,
    columns_of,
    no_rows,
    parts_of,
    source_of,
)
from freezeplan.data.split import Split
from freezeplan.data.split_rows import check_rows, split_of
from freezeplan.data.streaming import FileFeed, HubFeed, RowOrder, RowStream, StreamedRow, hub_rows_of
from freezeplan.data.target_checks import check_outputs
from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import quoted
from freezeplan.spec.streams import SHUFFLE_BUFFER, rows_per_pass
from freezeplan.spec.tables import Spec, Task
from freezeplan.tasks import task_kind

LOOKED_AT = 1000
"""Rows of each file in which its columns are looked for."""
SAMPLE, SAMPLES = 1 << 16, 64
"""Bytes of a place that is compared in a large file, and how many places are."""


def not_read_whole(names: Sequence[str]) -> str:
    """Say that the training rows of some tasks cannot be had all at once."""
    return f"the training rows of {quoted(names)} are streamed, and not read whole"


@dataclass(frozen=True)
class StreamedRows:
    """Hold a task's training rows that are read as they are needed; ``per_pass`` of them count as one pass.

    ``labels`` are the names of the task's outputs; ``report`` points a diagnostic at the key that names the rows.
    """

    task: Task
    columns: TaskColumns
    stream: RowStream
    per_pass: int
    labels: tuple[str, ...]
    report: Report

    def __len__(self) -> int:
        return self.per_pass

    def split(self, first: int, last: int, chosen: Sequence[int] | None = None) -> Split:
        """Return the rows from number ``first`` up to ``last``, counted from 0 over the whole run.

        All of them are checked; with ``chosen``, those that are named are returned. Raises ``DiagnosticError`` with
        each that cannot be used, or where data cannot be read.
        """
        with reported(self.report):
            rows = self.stream.take(first, last)
        split = self._checked(rows)
        if chosen is None or len(chosen) == len(rows):
            return split
        return self._split(table_of([rows[number - first] for number in chosen], self.columns))

    def _split(self, table: RowTable) -> Split:
        return split_of(table, self.task, self.columns.targets, self.report)

    def _checked(self, rows: Sequence[StreamedRow]) -> Split:
        table = table_of(rows, self.columns)
        found = check_rows(table, self.task, self.columns.targets, "train", self.report)
        split = self._split(table)
        found = [item for item in found if item.is_error] or [
            item for item in check_outputs(self.task, self.labels, {"streamed": split}) if item.is_error
        ]
        if found:
            raise DiagnosticError(found)
        return split

    def first(self) -> Split:
        """Return the first rows, as many as are held at a time; raises as :meth:`split` does."""
        with reported(self.report):
            count = self.stream.first_block()
        return self.split(0, count)

    def origin(self) -> dict[str, Any]:
        """Return as plain JSON what tells these data from others; of large files, a part is compared."""
        with reported(self.report):
            parts = self.stream.feed.parts
            digest = hashlib.sha256("".join(map(_content, parts)).encode()).hexdigest()
            size = sum(_size(part.path) for part in parts if isinstance(part, DataFile))
        return {"files": len(parts), "bytes": size, "sha256": digest}


def streamed_rows(spec: Spec, index: int, labels: tuple[str, ...], lacks: list[Lack]) -> StreamedRows:
    """Open the training rows of a task, and look at the first ones of each file.

    Columns that some file lacks go into ``lacks``. Raises ``Unreadable``.
    """
    task, columns = spec.task[index], columns_of(spec.task[index])
    names = tuple(dict.fromkeys(wanted.name for wanted in columns.all))
    parts = parts_of(spec, index, "train")
    for part in parts:
        present = _present(part, names)
        lacks += [Lack(name, part.name, tuple(present)) for name in names if name not in present]
    order = RowOrder(
        f"{spec.train.seed}/{task.name}",
        task.data.shuffle_buffer or SHUFFLE_BUFFER,
        task.batch_size or spec.train.batch_size,
        inputs=len(columns.inputs),
        lengths=spec.train.length_buckets and task.data.image is None and not task_kind(task).terms_vary,
    )
    report = partial(spec.locations.report, ("task", index, "data", "train"))
    stream = RowStream(_feed(parts, names, order.seed), order)
    return StreamedRows(task, columns, stream, rows_per_pass(spec)[task.name], labels, report)


def _feed(parts: Sequence[Part], names: Sequence[str], seed: str) -> FileFeed | HubFeed:
    first = parts[0]
    return HubFeed((first,), names) if isinstance(first, HubSplit) else FileFeed(parts, names, seed)


def _present(part: Part, names: Sequence[str]) -> Mapping[str, None]:
    """Return the columns that are in the first rows of a file; raises ``Unreadable`` where it has none (FP454)."""
    present, count = dict[str, None](), 0
    rows = hub_rows_of(part, names, present) if isinstance(part, HubSplit) else part.rows(names, present)
    for count, _ in enumerate(islice(rows, LOOKED_AT), 1):  # noqa: B007 - how many there are
        if all(name in present for name in names):
            break
    rows.close()
    if not count:
        raise no_rows(part)
    return present


def table_of(rows: Sequence[StreamedRow], columns: TaskColumns) -> RowTable:
    """Return some rows as a table, each with its place."""
    wanted = sorted(columns.all)
    names = list(dict.fromkeys(item.name for item in columns.all))
    builders = [(names.index(item.name), BUILDERS[item.role]()) for item in wanted]
    for row in rows:
        for at, builder in builders:
            builder.add(row.values[at], row.part.folder)
    made = {item: builder.done() for item, (_, builder) in zip(wanted, builders, strict=True)}
    parts = list({id(row.part): row.part for row in rows}.values())
    return RowTable(source_of(parts), len(rows), made, _places(rows), ())


def _places(rows: Sequence[StreamedRow]) -> Places:
    """Return where rows stand, neighbours of one file together."""
    found, start = [], 0
    for _, group in groupby(rows, key=lambda row: id(row.part)):
        beside = list(group)
        lines = array("Q", (row.line for row in beside))
        part = beside[0].part
        found.append(FilePlaces(part.name, part.format.unit, start, len(beside), lines=lines))
        start += len(beside)
    return Places(found)


@contextmanager
def reported(report: Report) -> Iterator[None]:
    """Give what cannot be read a diagnostic at its key."""
    try:
        yield
    except Unreadable as problem:
        raise DiagnosticError([report(problem.code, problem.message, help=problem.help)]) from None


def _content(part: Part) -> str:
    """Return what tells the content of a file, or of a data set of the hub, from others."""
    if isinstance(part, HubSplit):
        return hub_origin(part.hub, part.subset) + part.split
    files = sorted(part.path.rglob("*")) if part.path.is_dir() else [part.path]
    return part.name + "".join(_sampled(path) for path in files if path.is_file())


def _sampled(path: Path) -> str:
    """Hash a file: all of it, or of a large one its size and places spread over it, the first and last among them."""
    size = path.stat().st_size
    digest = hashlib.sha256(f"{path.name}/{size}".encode())
    with open(path, "rb") as file:
        if size <= SAMPLE * SAMPLES:
            return hashlib.file_digest(file, "sha256").hexdigest()
        for place in range(SAMPLES):
            file.seek((size - SAMPLE) * place // (SAMPLES - 1))
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
