"""Columns that hold several labels per row, or say of one label whether a row has it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from freezeplan.data.columns import Column
from freezeplan.data.findings import Flaws
from freezeplan.data.values import kind_of_value, label_problem
from freezeplan.tasks.flaws import Flaw

FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1}


class LabelLists:
    """Hold several labels per row, in their order, as numbers into their distinct ``names``."""

    def __init__(self, names: Sequence[str], codes: numpy.ndarray, ends: numpy.ndarray) -> None:
        self.names, self.codes, self.ends = tuple(names), codes, ends

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def sorted_names(self) -> tuple[str, ...]:
        """The distinct labels, sorted as strings."""
        return tuple(sorted(self.names))

    @property
    def counts(self) -> numpy.ndarray:
        """How many labels each row has."""
        return numpy.diff(self.ends, prepend=0)

    def numbered(self, labels: Sequence[str]) -> numpy.ndarray:
        """Return the place in ``labels`` of every label of all rows, one after the other."""
        place = {label: index for index, label in enumerate(labels)}
        return numpy.array([place[name] for name in self.names], dtype=numpy.int64)[self.codes]

    def present(self, labels: Sequence[str]) -> numpy.ndarray:
        """Return whether each row has each label, ``(rows, labels)``, as numbers of one byte."""
        found = numpy.zeros((len(self), len(labels)), dtype=numpy.uint8)
        found[numpy.repeat(numpy.arange(len(self)), self.counts), self.numbered(labels)] = 1
        return found

    def rows_of(self, name: str, most: int) -> tuple[int, list[int]]:
        """Return how many rows have a label, and the first few of them, counted from 1."""
        places = numpy.flatnonzero(self.codes == self.names.index(name))
        found = numpy.unique(numpy.searchsorted(self.ends, places, side="right"))
        return len(found), [int(row) + 1 for row in found[:most]]

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return self.codes.nbytes + self.ends.nbytes


class LabelListsBuilder:
    """Take the values of a column of lists of labels, one row after the other."""

    def __init__(self) -> None:
        self.flaws = Flaws()
        self._codes, self._ends, self._names = array("i"), array("q"), dict[str, int]()

    def add(self, value: Any, folder: Path | None = None) -> None:
        """Add the value of the next row; one that is no list of labels is noted as a flaw."""
        flaw = self.flaw(value)
        if flaw is not None:
            self.flaws.add(len(self._ends) + 1, flaw)
        for label in value if flaw is None else ():
            self._codes.append(self._names.setdefault(str(label), len(self._names)))
        self._ends.append(len(self._codes))

    def flaw(self, value: Any) -> Flaw | None:
        """Say what is wrong with a list of labels."""
        problem = list_problem(value)
        if problem is None and len({str(label) for label in value}) < len(value):
            return Flaw("a list with a label twice")
        return None if problem is None else Flaw(problem)

    def done(self) -> Column:
        """Return the column."""
        codes = numpy.frombuffer(self._codes, dtype=numpy.int32)
        ends = numpy.frombuffer(self._ends, dtype=numpy.int64)
        return Column(LabelLists(tuple(self._names), codes, ends), self.flaws)


class TagListsBuilder(LabelListsBuilder):
    """Take the values of a column of lists of tags, which may stand in a list more than once."""

    def flaw(self, value: Any) -> Flaw | None:
        """Say what is wrong with a list of tags."""
        problem = list_problem(value)
        return None if problem is None else Flaw(problem)


def list_problem(value: Any) -> str | None:
    """Say what is wrong with a value that should be a list of labels.

    >>> list_problem(["a", 1]), list_problem([]), list_problem("a"), list_problem(["a", None])
    (None, None, 'text', 'a list with null (no label)')
    """
    if value is None:
        return "null (no list)"
    if isinstance(value, str):
        return "text"
    if not isinstance(value, (list, tuple)):
        return kind_of_value(value)
    problem = next((found for label in value if (found := label_problem(label)) is not None), None)
    return None if problem is None else f"a list with {problem}"


class FlagColumn:
    """Hold a 0 or a 1 per row in ``flags``."""

    def __init__(self, flags: numpy.ndarray) -> None:
        self.flags = flags

    def __len__(self) -> int:
        return len(self.flags)

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return self.flags.nbytes


class FlagsBuilder:
    """Take the values of a column of 0 and 1, one row after the other."""

    def __init__(self) -> None:
        self.flaws = Flaws()
        self._flags = array("B")

    def add(self, value: Any, folder: Path | None = None) -> None:
        """Add the value of the next row; one that is neither 0 nor 1 is noted as a flaw."""
        flag = flag_of(value)
        if flag is None:
            self.flaws.add(len(self._flags) + 1, Flaw(_no_flag(value)))
        self._flags.append(flag or 0)

    def done(self) -> Column:
        """Return the column."""
        return Column(FlagColumn(numpy.frombuffer(self._flags, dtype=numpy.uint8)), self.flaws)


def flag_of(value: Any) -> int | None:
    """Return the 0 or 1 that a value stands for, as text too; None where it is neither.

    >>> flag_of(True), flag_of("0"), flag_of(1.0), flag_of(2), flag_of("yes")
    (1, 0, 1, None, None)
    """
    if isinstance(value, str):
        return FLAGS.get(value.strip().lower())
    return int(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


def _no_flag(value: Any) -> str:
    if value is None or isinstance(value, (list, tuple, dict)):
        return "null (no 0 or 1)" if value is None else kind_of_value(value)
    return "text that is neither 0 nor 1" if isinstance(value, str) else "a number that is neither 0 nor 1"
