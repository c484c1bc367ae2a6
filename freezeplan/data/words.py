"""Columns of texts that are cut into words already."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import numpy

from freezeplan.data.columns import Column, Texts
from freezeplan.data.findings import Flaws
from freezeplan.data.spool import Spool
from freezeplan.data.values import kind_of_value, text_problem
from freezeplan.tasks.flaws import Flaw


class WordLists(Texts):
    """Hold lists of words, read like a sequence of them; ``counts`` says how many words each row has."""

    def __init__(self, data: numpy.ndarray, ends: numpy.ndarray, counts: numpy.ndarray) -> None:
        super().__init__(data, ends)
        self.counts = counts

    def _value(self, row: int) -> Any:
        return json.loads(self._bytes(row) or b"[]")


class WordListsBuilder:
    """Take the values of a column of lists of words, one row after the other."""

    def __init__(self) -> None:
        self.flaws = Flaws()
        self._data, self._ends, self._counts = Spool(), array("q"), array("q")

    def add(self, value: Any, folder: Path | None = None) -> None:
        """Add the value of the next row; one that is no list of words is noted as a flaw."""
        flaw = words_flaw(value)
        if flaw is None:
            self._data.append(json.dumps(value).encode("ascii"))
        else:
            self.flaws.add(len(self._ends) + 1, flaw)
        self._ends.append(self._data.size)
        self._counts.append(len(value) if flaw is None else 0)

    def done(self) -> Column:
        """Return the column."""
        ends, counts = (
            numpy.frombuffer(numbers, dtype=numpy.int64) for numbers in (self._ends, self._counts)
        )
        return Column(WordLists(self._data.array(numpy.uint8), ends, counts), self.flaws)


def words_flaw(value: Any) -> Flaw | None:
    """Say what is wrong with a value that should be a list of words.

    >>> words_flaw(["a", "b"]), words_flaw("a b").what, words_flaw(["a", " "]).what
    (None, 'text', 'a list with blank text')
    """
    if value is None:
        return Flaw("null (no list)")
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        return Flaw("text" if isinstance(value, str) else kind_of_value(value))
    if not value:
        return Flaw("a list without any word")
    problem = next((found for word in value if (found := text_problem(word)) is not None), None)
    return None if problem is None else Flaw(f"a list with {problem}")
