"""The tags of words, at the tokens that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class WordTargets:
    """Hold a tag's number per token of all rows, where each row ends, and how many words of each row have a token."""

    codes: numpy.ndarray
    ends: numpy.ndarray
    counts: numpy.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def padded(self, rows: Sequence[int], filler: int) -> numpy.ndarray:
        """Return some rows ``(rows, longest of them)`` as 64-bit numbers, filled up on the right."""
        spans = [(int(self.ends[row - 1]) if row else 0, int(self.ends[row])) for row in rows]
        found = numpy.full((len(rows), max(end - start for start, end in spans)), filler, dtype=numpy.int64)
        for place, (start, end) in enumerate(spans):
            found[place, : end - start] = self.codes[start:end]
        return found


def word_targets(
    words: numpy.ndarray, ends: numpy.ndarray, tags: numpy.ndarray, tag_ends: numpy.ndarray, filler: int
) -> WordTargets:
    """Put the tags of words at their first tokens.

    ``words`` says of each token which word of its row it begins, counted from 1, else 0; ``ends`` where each row
    ends in it. ``tags`` holds the tags of all words, ``tag_ends`` where each row ends in them.

    >>> ends = numpy.array([4])
    >>> word_targets(numpy.array([0, 1, 0, 2]), ends, numpy.array([7, 8]), numpy.array([2]), -100).codes.tolist()
    [-100, 7, -100, 8]
    """
    rows = numpy.repeat(numpy.arange(len(ends)), numpy.diff(ends, prepend=0))
    begins = numpy.concatenate([[0], tag_ends[:-1]])[rows]
    first = numpy.asarray(words) > 0
    codes = numpy.full(len(rows), filler, dtype=numpy.int32)
    codes[first] = tags[(begins + words - 1)[first]]
    return WordTargets(codes, ends, numpy.bincount(rows[first], minlength=len(ends)))
