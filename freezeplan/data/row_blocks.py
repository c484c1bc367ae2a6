"""Columns of one data file, a block of rows at a time: memory does not grow with the file."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from freezeplan.data.builders import BUILDERS
from freezeplan.data.column_options import naming
from freezeplan.data.columns import Column
from freezeplan.data.files import DataFile, data_file
from freezeplan.data.findings import KEPT
from freezeplan.data.formats.row_source import Unreadable
from freezeplan.data.places import ROW, FilePlaces, Places
from freezeplan.data.reader import no_rows
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import closest_or_all

BLOCK = 1024
"""Rows that are held at a time."""
Numbers = list[tuple[int, int]]
"""Of some rows the number of each, and the line in which it stands."""


@dataclass(frozen=True)
class RowBlocks:
    """Hold some columns of a data file by their ``names``, each of what ``role`` says; iterating reads them.

    Yields a tuple of values for each row. Raises ``DiagnosticError`` as :func:`columns_in` does, for a file that is
    another one by then.
    """

    file: DataFile
    names: tuple[str, ...]
    role: str

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        with _reported():
            for numbers, columns in self.blocks({}):
                flawed = _Flawed(self)
                flawed.add(numbers, columns)
                flawed.check()
                yield from zip(*(column.values for column in columns), strict=True)

    def blocks(self, present: dict[str, None]) -> Iterator[tuple[Numbers, list[Column]]]:
        """Yield the numbers and the columns of each block; the columns that are there go into ``present``."""
        rows = enumerate(self.file.rows(self.names, present), 1)
        while block := list(islice(rows, BLOCK)):
            builders = [BUILDERS[self.role]() for _ in self.names]
            for _, (_, values) in block:
                for value, builder in zip(values, builders, strict=True):
                    builder.add(value, self.file.folder)
            yield [(row, line) for row, (line, _) in block], [builder.done() for builder in builders]


@dataclass
class _Flawed:
    """Count the rows that cannot be used, by column and by what is wrong, and hold the first few of them."""

    rows: RowBlocks
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    first: dict[tuple[str, str], Numbers] = field(default_factory=dict)
    last: int = 0
    crowded: bool = False

    def add(self, numbers: Numbers, columns: list[Column]) -> None:
        """Count the flaws of a block."""
        for name, column in zip(self.rows.names, columns, strict=True):
            for what, found in column.flaws.items():
                key = (name, what)
                self.counts[key] = self.counts.get(key, 0) + found.count
                kept = self.first.setdefault(key, [])
                kept += [numbers[row - 1] for row in found.rows[: KEPT - len(kept)]]
        for _, line in numbers:
            # An array on one line: lines tell nothing, and rows are counted.
            self.crowded, self.last = self.crowded or line == self.last, line

    def check(self) -> None:
        """Raise ``DiagnosticError`` (FP530) with all that was found."""
        found = [
            diagnostic(
                "FP530", f"column `{name}` of `{self.rows.file.name}` holds {what} in {self._place(key)}"
            )
            for key in self.counts
            for name, what in [key]
        ]
        if found:
            raise DiagnosticError(found)

    def _place(self, key: tuple[str, str]) -> str:
        unit = ROW if self.crowded else self.rows.file.format.unit
        lines = array("Q", [row if unit == ROW else line for row, line in self.first[key]])
        places = FilePlaces(self.rows.file.name, unit, 0, len(lines), lines=lines)
        return Places([places]).phrase(range(1, len(lines) + 1), self.counts[key])


def columns_in(path: Path, names: Mapping[str, str], role: str = "text") -> RowBlocks:
    """Return some columns of a data file; ``names`` maps them to the options that name them.

    ``role`` is ``text``, ``tokens`` for lists of words, or another key of the builders of columns. The whole file is
    read through here: nothing is done with the first rows before the last ones are known to be of use.

    Raises ``DiagnosticError`` (FP452 to FP456, FP530).
    """
    with _reported():
        rows = RowBlocks(data_file(path), tuple(names), role)
        present, flawed = dict[str, None](), _Flawed(rows)
        numbers: Numbers = []
        for numbers, columns in rows.blocks(present):
            flawed.add(numbers, columns)
        if not numbers:
            raise no_rows(rows.file)
        found = [
            _lacking(path, name, present, option) for name, option in names.items() if name not in present
        ]
        if found:
            raise DiagnosticError(found)
        flawed.check()
    return rows


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except Unreadable as problem:
        raise DiagnosticError([diagnostic(problem.code, problem.message, help=problem.help)]) from None


def _lacking(path: Path, name: str, present: Mapping[str, None], option: str) -> Diagnostic:
    advice = closest_or_all(name, tuple(present), "columns")
    message = f"`{path.name}` has no column `{name}`"
    return diagnostic("FP456", message, help=naming(advice, option))
