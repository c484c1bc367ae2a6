"""The targets of single rows, in plain values and with the types of columns that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from freezeplan.data.columns import Labels
from freezeplan.data.label_lists import FlagColumn, LabelLists
from freezeplan.data.numbers import NumberColumn

if TYPE_CHECKING:
    import pyarrow


def target_of(columns: Sequence[Any], labels: Sequence[str], row: int) -> Any:
    """Return what a task is to learn of a row, counted from 0, None without columns.

    That is a label, a list of labels or tags, a number, or a list of numbers; ``labels`` names the columns where
    these are several.
    """
    if not columns:
        return None
    first = columns[0]
    if isinstance(first, FlagColumn):
        return [name for name, column in zip(labels, columns, strict=True) if column.flags[row]]
    if isinstance(first, NumberColumn):
        numbers = [float(column.numbers[row]) for column in columns]
        return numbers[0] if len(numbers) == 1 else numbers
    if isinstance(first, LabelLists):
        start = int(first.ends[row - 1]) if row else 0
        return [first.names[code] for code in first.codes[start : first.ends[row]]]
    return first[row]


def type_of_targets(columns: Sequence[Any]) -> pyarrow.DataType:
    """Return the type of a column that holds what :func:`target_of` returns."""
    import pyarrow

    if not columns or isinstance(columns[0], Labels):
        return pyarrow.string()
    if isinstance(columns[0], NumberColumn):
        number = pyarrow.float64()
        return number if len(columns) == 1 else pyarrow.list_(number)
    return pyarrow.list_(pyarrow.string())
