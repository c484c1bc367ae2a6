"""Rows of CSV and TSV files, each value as text, exactly as written."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from freezeplan.data.formats.row_source import LONGEST_LINE, Row, RowSource
from freezeplan.diagnostics.wording import counted

ADVICE = (
    "write a header line and the same number of fields in each line; quote fields that hold commas or tabs"
)
QUOTES = 'quote a field that holds a quotation mark, and write the mark twice (`""`); or save JSONL'
# As Excel writes it.
SEPARATOR_LINE = re.compile(r"sep=(.)[\r\n]*")


class _Lines:
    """Give the csv module one line at a time; ``of_row`` are those since it was last emptied."""

    def __init__(self, file: TextIO, source: RowSource) -> None:
        self._file, self._source = file, source
        self._again: str | None = None
        self.count, self.of_row = 0, list[str]()

    def said_separator(self) -> str | None:
        """Read over a first line that names the separator, if there is one."""
        first = self._file.readline(LONGEST_LINE + 1)
        found = SEPARATOR_LINE.fullmatch(first)
        if found is None:
            self._again = first
            return None
        self.count += 1
        return found[1]

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line, self._again = self._again, None
        if line is None:
            line = self._file.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise self._source.too_long(self.count + 1)
        if not line:
            raise StopIteration
        self.count += 1
        self.of_row.append(line)
        return line


def separated_rows(source: RowSource, separator: str) -> Iterator[Row]:
    """Yield the line in which each row begins, and its values; blank lines are passed over.

    The first line names the columns; those without a name (an index, a comma at the end) are passed over. A first
    line ``sep=;`` says what separates. Raises ``Unreadable`` with the line for a row of more or fewer fields than
    the header, and for quotes that do not close, or that swallow whole rows.
    """
    with source.text() as file, _long_fields():
        lines = _Lines(file, source)
        rows = _rows(lines, lines.said_separator() or separator, source)
        header = next(rows, (0, []))[1]
        places = _places(header, source)
        for line, row in rows:
            if len(row) != len(header):
                has = f"{counted(len(row), 'field')}, the header {len(header)}"
                raise source.broken(f"line {line} has {has}", ADVICE)
            yield line, [None if place is None else row[place] for place in places]


def _rows(lines: _Lines, separator: str, source: RowSource) -> Iterator[tuple[int, list[str]]]:
    reader, width = csv.reader(lines, delimiter=separator, strict=True), 0
    while True:
        start = lines.count + 1
        lines.of_row.clear()
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise source.broken(f"line {start} {_wrong_quotes(error)}", QUOTES) from None
        if row is None:
            return
        width = width or len(row)
        if separator == "\t" and len(lines.of_row) > 1 and _swallowed(lines.of_row, width):
            reason = f"a quotation mark in line {start} closes in line {lines.count} only, over whole rows"
            raise source.broken(reason, QUOTES)
        if row:
            yield start, row


def _wrong_quotes(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "opens a quotation mark that never closes"
    return (
        "holds a quotation mark in a place where CSV allows none" if "expected" in str(error) else str(error)
    )


def _swallowed(lines: Sequence[str], width: int) -> bool:
    """Tell whether each line of a row would be a row of its own, were its quotation marks plain characters.

    Of tabs only: a text of several lines may well hold a comma in each.
    """
    return width > 1 and all(line.count("\t") == width - 1 for line in lines)


def _places(header: list[str], source: RowSource) -> list[int | None]:
    """Return where each wanted column stands, None where it is not there."""
    source.present.update(dict.fromkeys(name for name in header if name.strip()))
    source.check_single(header)
    return [header.index(name) if name in header else None for name in source.names]


@contextmanager
def _long_fields() -> Iterator[None]:
    # The csv module refuses longer fields than 128 KiB unless told; a text may be longer.
    before = csv.field_size_limit(LONGEST_LINE)
    try:
        yield
    finally:
        csv.field_size_limit(before)
