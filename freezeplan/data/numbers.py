"""Columns of numbers to learn."""

from __future__ import annotations

import re
from array import array
from pathlib import Path
from typing import Any

import numpy

from freezeplan.data.columns import Column
from freezeplan.data.findings import Flaws
from freezeplan.data.values import kind_of_value
from freezeplan.tasks.flaws import Flaw

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
LARGEST = float(numpy.finfo(numpy.float32).max)


class NumberColumn:
    """Hold a number per row in ``numbers``, 64-bit; a row that has none holds 0."""

    def __init__(self, numbers: numpy.ndarray) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return self.numbers.nbytes


class NumbersBuilder:
    """Take the values of a column of numbers, one row after the other."""

    def __init__(self) -> None:
        self.flaws = Flaws()
        self._numbers = array("d")

    def add(self, value: Any, folder: Path | None = None) -> None:
        """Add the value of the next row; one that is no number is noted as a flaw."""
        found = number_of(value)
        if isinstance(found, Flaw):
            self.flaws.add(len(self._numbers) + 1, found)
            found = 0.0
        self._numbers.append(found)

    def done(self) -> Column:
        """Return the column."""
        return Column(NumberColumn(numpy.frombuffer(self._numbers, dtype=numpy.float64)), self.flaws)


def number_of(value: Any) -> float | Flaw:
    """Return the number that a value is, as text too, which is all that CSV has; else what is wrong with it.

    >>> number_of(3), number_of("2.5"), number_of(None).what, number_of("many").what
    (3.0, 2.5, 'null (no number)', 'text that is no number')
    """
    if value is None:
        return Flaw("null (no number)")
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return Flaw("no number (blank)")
        if not NUMBER.fullmatch(text):
            return Flaw("text that is no number")
        value = float(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Flaw(kind_of_value(value))
    if value != value:
        return Flaw("NaN (no number)")
    return float(value) if abs(value) <= LARGEST else Flaw("a number beyond 32 bits")
