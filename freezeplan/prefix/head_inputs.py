"""What heads read of each entry of a whole backbone: its pooled vector, the states of its words, or both."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy


@dataclass(frozen=True)
class HeadInputs:
    """Say of each entry whether its pooled vector is read, and of each of its tokens whether its state is.

    ``tokens`` goes through the tokens of all entries, ``ends`` is where each entry ends in them.
    """

    pooled: numpy.ndarray
    tokens: numpy.ndarray
    ends: numpy.ndarray

    @property
    def widths(self) -> numpy.ndarray:
        """How many tokens each entry has."""
        return numpy.diff(self.ends, prepend=0)

    @property
    def counts(self) -> numpy.ndarray:
        """How many rows each entry has: one for a pooled vector, one for each state."""
        return self.pooled + numpy.add.reduceat(self.tokens, self.ends - self.widths, dtype=numpy.int64)

    @property
    def digest(self) -> str:
        """Return a hash of all of it."""
        whole = hashlib.sha256(self.ends)
        for part in (self.pooled, self.tokens):
            whole.update(numpy.packbits(part))
        return whole.hexdigest()


def head_inputs_of(
    widths: numpy.ndarray,
    entries: Mapping[str, numpy.ndarray],
    sources: Mapping[str, Any],
    over_words: Collection[str],
) -> HeadInputs:
    """Return what is read of entries of these ``widths`` in tokens.

    ``entries`` holds the entry of each row of each of the ``sources``. Heads read a state for each first piece of a
    word in those that ``over_words`` names, and a pooled vector in the others.
    """
    ends = numpy.cumsum(widths)
    pooled, tokens = numpy.zeros(len(ends), dtype=bool), numpy.zeros(int(ends[-1]), dtype=bool)
    for name, encoded in sources.items():
        if name in over_words:
            tokens[_places(ends - widths, entries[name], encoded.widths)[encoded.words > 0]] = True
        else:
            pooled[entries[name]] = True
    return HeadInputs(pooled, tokens, ends)


def _places(begins: numpy.ndarray, entries: numpy.ndarray, widths: numpy.ndarray) -> numpy.ndarray:
    """Return, for each token of some rows one after the other, where it is among the tokens of all entries."""
    shifts = begins[entries] - (numpy.cumsum(widths) - widths)
    return numpy.arange(int(widths.sum())) + numpy.repeat(shifts, widths)
