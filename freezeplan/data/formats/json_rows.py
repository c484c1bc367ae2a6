"""Rows of JSON files: objects, one after the other or in one array, however they are laid out in lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from freezeplan.data.formats.row_source import CHUNK, LONGEST_LINE, Row, RowSource
from freezeplan.diagnostics.wording import quoted

ADVICE = 'write one JSON object per line, such as {"text": "…", "label": "…"}'
# A byte order mark inside a file is left over from files that were put together.
BLANKS = re.compile("[ \t\r\n\ufeff]*")


class _Twice(dict[str, Any]):
    """Hold an object some of whose keys are written more than once."""

    names: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    twice = _Twice(found)
    twice.names = tuple(name for name in found if names.count(name) > 1)
    return twice


DECODER = json.JSONDecoder(object_pairs_hook=_object)


def json_rows(source: RowSource) -> Iterator[Row]:
    """Yield the line in which each object begins, and its values of the wanted columns, None where it has none.

    Raises ``Unreadable`` with the line for what is no JSON, and for a row that is no object, is nested too deeply,
    or has a wanted key twice.
    """
    with source.text() as file:
        for line, value in _Values(file, source).rows():
            if not isinstance(value, dict):
                raise source.broken(f"line {line} is not a JSON object", ADVICE)
            if isinstance(value, _Twice) and (twice := set(value.names) & set(source.names)):
                raise source.broken(f"line {line} has the key {quoted(sorted(twice))} twice", ADVICE)
            if not value.keys() <= source.present.keys():
                source.present.update(dict.fromkeys(value))
            yield line, [value.get(name) for name in source.names]


class _Values:
    """Decode values from a text that is read a piece at a time."""

    def __init__(self, file: TextIO, source: RowSource) -> None:
        self._file, self._source = file, source
        self._text, self._at, self._line, self._ended = "", 0, 1, False

    def rows(self) -> Iterator[tuple[int, Any]]:
        """Yield each value with the line in which it begins; of one array around all, its entries."""
        array = self._next() == "["
        if array:
            self._at += 1
        first = True
        while (char := self._next()) and not (array and char == "]"):
            if array and not first:
                self._comma(char)
            yield self._value()
            first = False
        if array:
            self._end(char)

    def _comma(self, char: str) -> None:
        if char != ",":
            raise self._broken("Expecting ',' delimiter", self._at)
        self._at += 1
        self._next()

    def _end(self, char: str) -> None:
        if not char:
            raise self._broken("the array is not closed", self._at)
        self._at += 1
        if self._next():
            raise self._broken("something stands after the array", self._at)

    def _next(self) -> str:
        """Pass over blanks and return the next character, nothing at the end."""
        while True:
            end = BLANKS.match(self._text, self._at).end()
            self._line += self._text.count("\n", self._at, end)
            self._at = end
            if end < len(self._text) or self._ended:
                return self._text[end : end + 1]
            self._read()

    def _read(self) -> None:
        """Read on: as much again as is waiting, so that a long row is not tried too often."""
        waiting = self._text[self._at :]
        if len(waiting) > LONGEST_LINE:
            raise self._source.too_long(self._line)
        more = self._file.read(max(CHUNK, len(waiting)))
        self._ended = not more
        self._text, self._at = waiting + more, 0

    def _value(self) -> tuple[int, Any]:
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._ended or self._is_wrong(error):
                    raise self._broken(error.msg, error.pos) from None
            except RecursionError:
                raise self._source.broken(f"line {self._line} is nested too deeply", ADVICE) from None
            except ValueError:  # a number of thousands of digits
                message = f"line {self._line} holds a number of too many digits"
                raise self._source.broken(message, ADVICE) from None
            else:
                if end < len(self._text) or self._ended or self._text[end - 1] in '}]"':
                    line = self._line
                    self._line += self._text.count("\n", self._at, end)
                    self._at = end
                    return line, value
            self._read()

    def _is_wrong(self, error: json.JSONDecodeError) -> bool:
        """Tell whether more text cannot mend what was found; a string that is cut is blamed at its start."""
        return error.pos < len(self._text) - 16 and not error.msg.startswith("Unterminated string")

    def _broken(self, reason: str, at: int) -> Exception:
        if not self._text[at:].strip():
            at = len(self._text[:at].rstrip())
        line = self._line + self._text.count("\n", self._at, at)
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        place = f" (column {column})" if self._text.rfind("\n", 0, at) >= 0 or self._line == 1 else ""
        return self._source.broken(f"line {line} is not JSON: {reason}{place}", ADVICE)
