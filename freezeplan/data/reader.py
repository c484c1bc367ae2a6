"""The one reader of data: from a task's split to compact columns, each file read once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from freezeplan.data.files import DataFile, Format, data_files
from freezeplan.data.formats.hub_set import hub_rows
from freezeplan.data.formats.row_source import Row, RowSource, Unreadable
from freezeplan.data.places import FilePlaces, Places
from freezeplan.spec.tables import DataTable, Spec, Task
from freezeplan.tasks import task_kind

if TYPE_CHECKING:
    from freezeplan.data.columns import Column

KEPT_BYTES = 256 << 20


@dataclass(frozen=True, order=True)
class Wanted:
    """Name a column that a task reads, and what it reads there: ``text``, ``image``, or what its targets are."""

    name: str
    role: str


@dataclass(frozen=True)
class TaskColumns:
    """Hold the columns that a task reads: what the model is given, and what it is to learn."""

    inputs: tuple[Wanted, ...]
    targets: tuple[Wanted, ...]

    @property
    def all(self) -> tuple[Wanted, ...]:
        """Both, the inputs first."""
        return self.inputs + self.targets


@dataclass(frozen=True)
class Lack:
    """Say that a file has no column of a name, and which it has."""

    name: str
    file: str
    present: tuple[str, ...]


@dataclass(frozen=True)
class RowTable:
    """Hold the rows of one split: the wanted columns, where each row stands, and which columns some file lacks.

    ``present`` are the columns of each file, in their order.
    """

    source: str
    count: int
    columns: Mapping[Wanted, Column]
    places: Places
    lacks: tuple[Lack, ...]
    present: tuple[tuple[str, ...], ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return sum(column.values.nbytes for column in self.columns.values())


@dataclass(frozen=True)
class HubSplit:
    """Name a split of a hub dataset, as :class:`DataFile` names a file."""

    hub: str
    subset: str | None
    split: str
    format: Format = Format(lambda source: iter(()), "row", by_column=True)
    folder: None = None

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.hub}, split {self.split}"

    @property
    def signature(self) -> tuple[object, ...]:
        """What names it."""
        return (self.hub, self.subset, self.split)

    def rows(self, names: Sequence[str], present: dict[str, None]) -> Iterator[Row]:
        """Yield its rows; see :class:`RowSource`."""
        source = RowSource(partial(open, self.name, "rb"), self.name, names, present)
        return hub_rows(source, self.hub, self.subset, self.split)


Part = DataFile | HubSplit


class Reader:
    """Read splits, and remember the last tables as long as they are small: commands ask for the same rows twice."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], RowTable] = {}

    def read(self, parts: Sequence[Part], wanted: Collection[Wanted]) -> RowTable:
        """Return the wanted columns of all rows of some files, one after the other.

        Raises ``Unreadable`` where a file cannot be read, or has no rows (FP454).
        """
        key = tuple(part.signature for part in parts)
        kept = self._kept.pop(key, None)
        if kept is not None and set(wanted) <= kept.columns.keys():
            self._kept[key] = kept
            return kept
        table = _read(parts, sorted(wanted))
        self._keep(key, table)
        return table

    def forget(self) -> None:
        """Let go of all tables."""
        self._kept.clear()

    def _keep(self, key: tuple[object, ...], table: RowTable) -> None:
        self._kept[key] = table
        while sum(kept.nbytes for kept in self._kept.values()) > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]


READER = Reader()


def parts_of(spec: Spec, index: int, split: str) -> tuple[Part, ...]:
    """Return what a task's split is read from, none where the task has no such split; raises ``Unreadable``."""
    data = spec.task[index].data
    entries = getattr(data, split) if data is not None else None
    if data is None or entries is None:
        return ()
    if data.hub is not None:
        if not all(entry.strip() for entry in entries):
            raise Unreadable(
                "FP452", "the name of a split is empty", "name one of the dataset, such as `train`"
            )
        return (HubSplit(data.hub, data.subset, "+".join(entries)),)
    start = spec.locations.directory_of(("task", index, "data", split)) or Path()
    return data_files(entries, start)


def columns_of(task: Task) -> TaskColumns:
    """Return the columns that a task reads; none for one without data."""
    data = task.data
    if data is None:
        return TaskColumns((), ())
    names = targets_of(task)
    role = task_kind(task).role(len(names))
    holds = data.kind if data.kind in ("image", "tokens", "messages") else "text"
    return TaskColumns(
        tuple(Wanted(name, holds) for name in data.inputs.values()),
        tuple(Wanted(name, role) for name in names),
    )


def targets_of(task: Task) -> tuple[str, ...]:
    """Return the columns that hold what a task is to learn; none for a kind that learns from its texts alone."""
    return (task.data or DataTable()).targets if task_kind(task).most_columns != 0 else ()


def read_split(spec: Spec, index: int, split: str, *, targets_only: bool = False) -> RowTable | None:
    """Read a task's split, with the columns that other tasks read from the same files; None where it has none.

    With ``targets_only``, a file that holds its columns one by one is read for its targets alone. Raises
    ``Unreadable``.
    """
    parts, columns = parts_of(spec, index, split), columns_of(spec.task[index])
    if not parts:
        return None
    if targets_only and columns.targets and all(part.format.by_column for part in parts):
        return READER.read(parts, columns.targets)
    return READER.read(parts, _wanted_by_all(spec, parts) | set(columns.all))


def _wanted_by_all(spec: Spec, parts: Sequence[Part]) -> set[Wanted]:
    found: set[Wanted] = set()
    these = [part.signature for part in parts]
    for index, task in enumerate(spec.task):
        for split in ("train", "validation", "test"):
            try:
                others = parts_of(spec, index, split)
            except Unreadable:
                continue
            if task.data is not None and [part.signature for part in others] == these:
                found.update(columns_of(task).all)
    return found


def _read(parts: Sequence[Part], wanted: Sequence[Wanted]) -> RowTable:
    # Only where rows are read: a plan alone is shown without numpy.
    from freezeplan.data.builders import BUILDERS

    builders = [BUILDERS[item.role]() for item in wanted]
    files, lacks, columns_of_files, count = [], [], [], 0
    names = list(dict.fromkeys(item.name for item in wanted))
    order = [names.index(item.name) for item in wanted]
    for part in parts:
        places, present = FilePlaces(part.name, part.format.unit, count), dict[str, None]()
        for line, values in part.rows(names, present):
            places.add(line)
            for place, builder in zip(order, builders, strict=True):
                builder.add(values[place], part.folder)
        if not places.count:
            raise no_rows(part)
        files.append(places)
        count += places.count
        columns_of_files.append(tuple(present))
        lacks += [Lack(name, part.name, tuple(present)) for name in names if name not in present]
    columns = {item: builder.done() for item, builder in zip(wanted, builders, strict=True)}
    return RowTable(source_of(parts), count, columns, Places(files), tuple(lacks), tuple(columns_of_files))


def no_rows(part: Part) -> Unreadable:
    """Return the error for what is read and holds no rows."""
    where = part.path if isinstance(part, DataFile) else part.name
    return Unreadable("FP454", f"data file `{where}` has no rows", "check that it was written completely")


def source_of(parts: Sequence[Part]) -> str:
    """Return the name that people know some files by."""
    more = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
    return f"{parts[0].name}{more}"
