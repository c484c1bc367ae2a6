"""Two columns of texts that are read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy

from freezeplan.data.columns import Texts

Pair = tuple[str, str]


class TextPairs(Sequence[Pair]):
    """Hold two texts per row, read like a sequence of pairs; the columns themselves are shared, not copied."""

    def __init__(self, first: Texts, second: Texts) -> None:
        self.columns = (first, second)

    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, row: int) -> Pair: ...
    @overload
    def __getitem__(self, row: slice) -> list[Pair]: ...
    def __getitem__(self, row: int | slice) -> Pair | list[Pair]:
        first, second = (column[row] for column in self.columns)
        return list(zip(first, second, strict=True)) if isinstance(row, slice) else (first, second)

    def __iter__(self) -> Iterator[Pair]:
        return zip(*self.columns, strict=True)

    def keys(self) -> numpy.ndarray:
        """Return a hash of 64 bits per row, equal for equal pairs; a pair turned round has another one."""
        first, second = (column.keys() for column in self.columns)
        return first * numpy.uint64(3) + second

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return sum(column.nbytes for column in self.columns)
