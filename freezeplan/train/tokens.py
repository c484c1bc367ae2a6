"""Tokens of many texts as one array of numbers with offsets, in memory or, beyond a budget, on disk."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain

import numpy

from freezeplan.data.findings import Flaws
from freezeplan.data.spool import Spool

IDS = "input_ids"
MASK = "attention_mask"
WORDS = "words"
"""Not an input of any model: which word each token begins, counted from 1, else 0."""
LEARNED = "learned"
"""Neither: 1 at each token that a language model is to tell, else 0."""
NARROW = 1 << 16


class Numbers:
    """Hold one input of many texts: an array of all its numbers, or the one number that all of them are."""

    def __init__(self, values: numpy.ndarray | None, constant: int = 0) -> None:
        self.values, self.constant = values, constant

    def between(self, start: int, end: int) -> numpy.ndarray:
        """Return the numbers from one place up to another."""
        if self.values is None:
            return numpy.full(end - start, self.constant, dtype=numpy.int64)
        return self.values[start:end]


class EncodedTexts:
    """Hold tokenised texts: the numbers of each of the tokenizer's inputs, and where each text ends in them.

    ``flaws`` says which rows, counted from 1, cannot be used; ``cut`` counts the texts that had more tokens than
    are kept.
    """

    def __init__(
        self, inputs: Mapping[str, Numbers], ends: numpy.ndarray, flaws: Flaws | None = None, cut: int = 0
    ) -> None:
        self.inputs, self.ends, self.cut = dict(inputs), ends, cut
        self.flaws = Flaws() if flaws is None else flaws

    def __len__(self) -> int:
        return len(self.ends)

    def row(self, name: str, row: int) -> numpy.ndarray:
        """Return the numbers of one input of one text."""
        return self.inputs[name].between(*self._span(row))

    def _span(self, row: int) -> tuple[int, int]:
        return int(self.ends[row - 1]) if row else 0, int(self.ends[row])

    @property
    def words(self) -> numpy.ndarray:
        """Which word each token of all texts begins, counted from 1, else 0; of texts that came as words."""
        return self.numbers(WORDS)

    def numbers(self, name: str) -> numpy.ndarray:
        """Return the numbers of one input of all texts, one after the other."""
        return self.inputs[name].between(0, int(self.ends[-1]) if len(self.ends) else 0)

    @property
    def widths(self) -> numpy.ndarray:
        """How many tokens each text has, those that a mask hides included."""
        return numpy.diff(self.ends, prepend=0)

    @cached_property
    def lengths(self) -> numpy.ndarray:
        """How many real tokens each text has, as 32-bit numbers."""
        mask = self.inputs.get(MASK)
        if mask is None or (mask.values is None and mask.constant == 1):
            return self.widths.astype(numpy.int32)
        sums = [int(mask.between(*self._span(row)).sum()) for row in range(len(self))]
        return numpy.array(sums, dtype=numpy.int32)

    def padded(self, name: str, rows: Sequence[int], filler: int) -> numpy.ndarray:
        """Return an input of some texts (rows, longest of them) as 64-bit numbers, filled up on the right."""
        spans = [self._span(row) for row in rows]
        found = numpy.full((len(rows), max(end - start for start, end in spans)), filler, dtype=numpy.int64)
        numbers = self.inputs[name]
        for place, (start, end) in enumerate(spans):
            found[place, : end - start] = numbers.between(start, end)
        return found

    def digest(self) -> bytes:
        """Return a hash of all texts' numbers, in their order."""
        whole = hashlib.sha256(self.ends)
        for name, numbers in sorted(self.inputs.items()):
            kind = numbers.constant if numbers.values is None else numbers.values.dtype
            whole.update(f"{name}:{kind}:".encode())
            whole.update(b"" if numbers.values is None else numbers.values)
        return whole.digest()

    def digests(self, *, words: bool = False) -> Iterator[bytes]:
        """Yield a hash of each text's numbers, of all that a model reads, and with ``words`` of where words begin."""
        names = sorted(self.inputs.keys() - ({LEARNED} if words else {WORDS, LEARNED}))
        for row in range(len(self)):
            whole = hashlib.sha256()
            for name in names:
                numbers = self.row(name, row).astype(numpy.int64)
                whole.update(f"{name}:{len(numbers)}:".encode())
                whole.update(numbers.tobytes())
            yield whole.digest()


def joined(parts: Sequence[EncodedTexts], flaws: Flaws) -> EncodedTexts:
    """Return the texts of some parts, one after the other; ``flaws`` are theirs together.

    >>> parts = [encoded_texts({"input_ids": [ids]}) for ids in ([5, 6], [7])]
    >>> joined(parts, Flaws()).padded("input_ids", [0, 1], 0).tolist()
    [[5, 6], [7, 0]]
    """
    sizes = [int(part.ends[-1]) if len(part) else 0 for part in parts]
    inputs = {name: _joined([part.inputs[name] for part in parts], sizes) for name in parts[0].inputs}
    starts = numpy.cumsum([0, *sizes])
    ends = numpy.concatenate([part.ends + start for part, start in zip(parts, starts, strict=False)])
    return EncodedTexts(inputs, ends, flaws, sum(part.cut for part in parts))


def _joined(columns: Sequence[Numbers], sizes: Sequence[int]) -> Numbers:
    first = columns[0].constant
    if all(column.values is None and column.constant == first for column in columns):
        return Numbers(None, first)
    parts = [column.between(0, size) for column, size in zip(columns, sizes, strict=True)]
    return Numbers(numpy.concatenate(parts))


def encoded_texts(inputs: Mapping[str, Sequence[Sequence[int]]]) -> EncodedTexts:
    """Return lists of numbers, one per text and input, in compact form.

    >>> encoded_texts({"input_ids": [[5, 6], [7]]}).padded("input_ids", [0, 1], 0).tolist()
    [[5, 6], [7, 0]]
    """
    writer = TokenWriter(list(inputs), None)
    writer.add(inputs)
    return writer.done(Flaws(), 0)


class TokenWriter:
    """Take the numbers of texts, some texts at a time; ids of up to 65,536 kinds take two bytes each."""

    def __init__(self, names: Sequence[str], vocabulary: int | None) -> None:
        narrow = vocabulary is not None and vocabulary <= NARROW
        self._columns = {
            name: _Column(numpy.uint16 if narrow and name == IDS else numpy.int32) for name in names
        }
        self._ends = array("q")

    def add(self, inputs: Mapping[str, Sequence[Sequence[int]]]) -> None:
        """Add texts; an input that the tokenizer does not give is 1 at each token, as a mask of real ones is."""
        widths = [len(ids) for ids in inputs[IDS]]
        for name, column in self._columns.items():
            lists = inputs.get(name)
            if lists is None:
                column.add_same(1, sum(widths))
            else:
                column.add(numpy.fromiter(chain.from_iterable(lists), dtype=numpy.int64))
        end = self._ends[-1] if self._ends else 0
        for width in widths:
            end += width
            self._ends.append(end)

    def done(self, flaws: Flaws, cut: int) -> EncodedTexts:
        """Return all texts."""
        inputs = {name: column.done() for name, column in self._columns.items()}
        return EncodedTexts(inputs, numpy.frombuffer(self._ends, dtype=numpy.int64), flaws, cut)


class _Column:
    """Take the numbers of one input; as long as all are the same, only that number is kept."""

    def __init__(self, dtype: type) -> None:
        self._dtype, self._spool = dtype, Spool()
        self._constant: int | None = None
        self._count = 0

    def add(self, numbers: numpy.ndarray) -> None:
        first = self._constant if self._constant is not None else int(numbers[0]) if len(numbers) else 0
        same = self._spool.size == 0 and bool((numbers == first).all())
        if same:
            self.add_same(first, len(numbers))
            return
        if self._spool.size == 0 and self._count:
            self._spool.append(numpy.full(self._count, self._constant, dtype=self._dtype).tobytes())
        self._count += len(numbers)
        self._spool.append(numbers.astype(self._dtype).tobytes())

    def add_same(self, number: int, count: int) -> None:
        if self._spool.size:
            self._spool.append(numpy.full(count, number, dtype=self._dtype).tobytes())
        elif count:
            self._constant = number
        self._count += count

    def done(self) -> Numbers:
        if self._spool.size:
            return Numbers(self._spool.array(self._dtype))
        return Numbers(None, self._constant or 0)
