"""Writes rows into a new file of JSON lines, CSV or Parquet, which is whole or not there."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_line, quoted

if TYPE_CHECKING:
    import pyarrow

TEXTS, NUMBERS = ("labels", "tags", "tokens"), ("scores",)
"""The keys of lists that may be empty in all rows of a group."""
BATCH = 1000
"""Rows of a row group of Parquet."""


class TableWriter(Protocol):
    """Take rows one after the other; each has the keys of the first."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Write one row."""

    def end(self) -> None:
        """Write what is still held, and close the file."""


class JsonLines:
    """Write each row as a line of JSON."""

    def __init__(self, path: Path, schema: pyarrow.Schema | None) -> None:
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed at the end

    def add(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def end(self) -> None:
        """Close the file."""
        self._file.close()


class SeparatedRows:
    """Write rows as CSV under a header; lists and tables as JSON, null as nothing."""

    def __init__(self, path: Path, schema: pyarrow.Schema | None) -> None:
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115 - closed at the end
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._names: list[str] | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        flat = flattened(row)
        if self._names is None:
            self._names = list(flat)
            self._writer.writerow(self._names)
        self._writer.writerow([_as_text(flat[name]) for name in self._names])

    def end(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetRows:
    """Write rows as Parquet, a row group at a time; without a schema the first group's values tell it."""

    def __init__(self, path: Path, schema: pyarrow.Schema | None) -> None:
        self._path, self._schema = path, schema
        self._rows: list[dict[str, Any]] = []
        self._writer: Any = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Hold one row until a group is full."""
        self._rows.append(flattened(row))
        if len(self._rows) == BATCH:
            self._write()

    def end(self) -> None:
        """Write the last group and the end of the file."""
        if self._rows or self._writer is None:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        import pyarrow
        from pyarrow import parquet

        if self._schema is None:
            self._schema = schema_of(self._rows)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, self._schema)
        as_json = [field.name for field in self._schema if pyarrow.types.is_string(field.type)]
        rows = [
            {**row, **{name: _as_text(row[name]) for name in as_json if name in row}} for row in self._rows
        ]
        self._writer.write_table(pyarrow.Table.from_pylist(rows, schema=self._schema))
        self._rows = []


def schema_of(rows: list[dict[str, Any]]) -> pyarrow.Schema:
    """Return the types of the columns of some rows; lists of tables, and what rows do not tell alike, are JSON text."""
    import pyarrow

    names = dict.fromkeys(name for row in rows for name in row)
    usual = {
        **dict.fromkeys(TEXTS, pyarrow.list_(pyarrow.string())),
        **dict.fromkeys(NUMBERS, pyarrow.list_(pyarrow.float64())),
    }
    return pyarrow.schema(
        [
            (name, usual.get(name.rpartition(".")[2]) or _type_of([row.get(name) for row in rows]))
            for name in names
        ]
    )


def _type_of(values: list[Any]) -> pyarrow.DataType:
    import pyarrow

    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return pyarrow.bool_()
    if known and all(isinstance(value, int) for value in known):
        return pyarrow.int64()
    if known and all(isinstance(value, (int, float)) for value in known):
        return pyarrow.float64()
    if known and all(isinstance(value, list) for value in known):
        return _list_type([item for value in known for item in value if item is not None])
    return pyarrow.string()


def _list_type(items: list[Any]) -> pyarrow.DataType:
    import pyarrow

    if items and all(isinstance(item, str) for item in items):
        return pyarrow.list_(pyarrow.string())
    if items and all(isinstance(item, float) for item in items):
        return pyarrow.list_(pyarrow.float64())
    return pyarrow.string()


WRITERS: Mapping[str, Callable[[Path, Any], TableWriter]] = {
    ".jsonl": JsonLines,
    ".csv": SeparatedRows,
    ".parquet": ParquetRows,
}


def flattened(row: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return a row without tables in it: their keys stand behind that of the table, with a dot between.

    >>> flattened({"text": "a", "topic": {"label": "x", "score": 0.5}})
    {'text': 'a', 'topic.label': 'x', 'topic.score': 0.5}
    """
    found: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found


def _as_text(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@contextmanager
def new_table(
    path: Path, *, overwrite: bool = False, schema: pyarrow.Schema | None = None
) -> Iterator[TableWriter]:
    """Give a writer of rows into a file whose form its ending says; it gets its name when the block ends well.

    Until then it is a hidden file beside its place. After an error or a stop neither is there, and a file that was to
    be overwritten is as it was. ``schema`` says the types of a Parquet file's columns beforehand.

    Raises ``DiagnosticError`` (FP577) for another ending, a file that is there, or one that cannot be written.
    """
    check_new(path, overwrite=overwrite)
    aside = path.with_name(f".{path.name}.partial-{os.getpid()}")
    with _refusals(path):
        try:
            writer = WRITERS[path.suffix.lower()](aside, schema)
            yield writer
            writer.end()
            check_new(path, overwrite=overwrite)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)


def check_new(path: Path, *, overwrite: bool, endings: Collection[str] = tuple(WRITERS)) -> None:
    """Make sure that a file can be written; raises ``DiagnosticError`` (FP577)."""
    if path.suffix.lower() not in endings:
        raise _refused(
            f"the ending of `{path}` names no form that is written", f"end it in {quoted(endings)}"
        )
    if path.is_dir():
        raise _refused(f"`{path}` is a folder", "name a file")
    if path.exists() and not overwrite:
        raise _refused(f"`{path}` is there already", "name a new file, or add `--overwrite`")
    if not path.absolute().parent.is_dir():
        raise _refused(f"`{path}` cannot be written: its folder does not exist", "make the folder first")


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise _refused(f"`{path}` cannot be written: {reason.lower()}", "name another place") from error


def _refused(message: str, advice: str) -> DiagnosticError:
    return DiagnosticError([diagnostic("FP577", message, help=advice)])
