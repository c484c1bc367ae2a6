"""The tokens that a language model should tell, and where it should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class NextTokens:
    """Hold the tokens of all rows, which of them are learned, where each row ends, how many each row learns.

    The first token of a row is never learned: nothing stands before it.
    """

    ids: numpy.ndarray
    learned: numpy.ndarray
    ends: numpy.ndarray
    counts: numpy.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def padded(self, rows: Sequence[int]) -> numpy.ndarray:
        """Return the targets of some rows ``(targets, 2)``, as a batch of them padded on the right has them.

        Each is the place of the token before, counted over all rows of the batch, and the number of the token.
        """
        spans = [(int(self.ends[row - 1]) if row else 0, int(self.ends[row])) for row in rows]
        width = max((end - start for start, end in spans), default=0)
        found = [numpy.zeros((0, 2), dtype=numpy.int64)]
        for number, (start, end) in enumerate(spans):
            places = numpy.flatnonzero(self.learned[start:end])
            found.append(numpy.stack([number * width + places - 1, self.ids[start:end][places]], axis=1))
        return numpy.concatenate(found).astype(numpy.int64)


def next_tokens(ids: numpy.ndarray, learned: numpy.ndarray, ends: numpy.ndarray) -> NextTokens:
    """Return the targets of rows from all their tokens, and a mark of 1 at those that are to be learned.

    >>> found = next_tokens(numpy.array([7, 8, 9, 5, 6]), numpy.array([1, 0, 1, 0, 1]), numpy.array([3, 5]))
    >>> found.padded([1, 0]).tolist(), found.counts.tolist()
    ([[0, 6], [4, 9]], [1, 1])
    """
    marks = numpy.array(learned, dtype=bool)
    marks[numpy.concatenate([[0], ends[:-1]])[numpy.diff(ends, prepend=0) > 0]] = False
    rows = numpy.repeat(numpy.arange(len(ends)), numpy.diff(ends, prepend=0))
    return NextTokens(ids, marks, ends, numpy.bincount(rows[marks], minlength=len(ends)))
