"""Two columns of texts, or three, that are read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy

from freezeplan.data.columns import Texts

Row = tuple[str, ...]


class TextPairs(Sequence[Row]):
    """Hold two texts or three per row, read like a sequence of tuples; the columns are shared, not copied."""

    def __init__(self, *columns: Texts) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, row: int) -> Row: ...
    @overload
    def __getitem__(self, row: slice) -> list[Row]: ...
    def __getitem__(self, row: int | slice) -> Row | list[Row]:
        texts = tuple(column[row] for column in self.columns)
        return list(zip(*texts, strict=True)) if isinstance(row, slice) else texts

    def __iter__(self) -> Iterator[Row]:
        return zip(*self.columns, strict=True)

    def keys(self) -> numpy.ndarray:
        """Return a hash of 64 bits per row, equal for equal rows; the same texts in another order have another one."""
        found, *others = (column.keys() for column in self.columns)
        for keys in others:
            found = found * numpy.uint64(3) + keys
        return found

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return sum(column.nbytes for column in self.columns)
