"""Numbers the distinct inputs of all tasks and splits, so that equal ones are stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy

from freezeplan.prefix.head_inputs import HeadInputs, head_inputs_of

Rows = Sequence[int]
DIGEST = 32

ROWS_ON_CPU = 32


class Examples:
    """Give each distinct input of some encoded sets a number, its entry in the store.

    ``sources`` maps names of the caller's choice (a split of a task) to encoded texts or images; of those that
    ``over_words`` names, heads read the states of words. With ``by_words``, texts of the same tokens and other words
    are two inputs. ``entries`` maps each name to the entry of every row. Entries are numbered in the order in which
    they are computed: set by set, long texts first, so that a batch holds little padding. ``lengths`` counts each
    entry's real tokens, None for images. ``digest`` is a hash of all entries in order.
    """

    def __init__(
        self, sources: Mapping[str, Any], over_words: Collection[str] = (), *, by_words: bool = False
    ) -> None:
        self.sources, self.over_words = dict(sources), frozenset(over_words)
        digests = [_digests(encoded, by_words) for encoded in sources.values()]
        firsts, numbers = _distinct(numpy.concatenate(digests)) if digests else (numpy.empty(0), ())
        places = numpy.full(len(firsts), -1, dtype=numpy.int64)
        self.entries: dict[str, numpy.ndarray] = {}
        self.spans: list[tuple[str, numpy.ndarray]] = []
        lengths, whole, start, count = [], hashlib.sha256(), 0, 0
        for (name, encoded), own in zip(sources.items(), digests, strict=True):
            mine = numbers[start : start + len(own)]
            fresh = _fresh_rows(mine, firsts, start, encoded.lengths)
            places[mine[fresh]] = numpy.arange(count, count + len(fresh))
            whole.update(own[fresh].tobytes())
            self.spans.append((name, fresh))
            self.entries[name] = places[mine]
            lengths += [encoded.lengths[fresh]] if encoded.lengths is not None else []
            start, count = start + len(own), count + len(fresh)
        self.lengths = tuple(numpy.concatenate(lengths).tolist()) if lengths else None
        self.digest = whole.hexdigest()

    @cached_property
    def wanted(self) -> HeadInputs:
        """What the heads read of each entry where the whole backbone is stored."""
        fresh = [self.sources[name].widths[rows] for name, rows in self.spans]
        return head_inputs_of(numpy.concatenate(fresh), self.entries, self.sources, self.over_words)

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.spans)

    def batches(self, size: int) -> Iterator[tuple[str, Rows]]:
        """Yield the rows to compute, at most ``size`` of one set at a time, in the order of their entries."""
        for name, rows in self.spans:
            for chunk in in_chunks(len(rows), size):
                yield name, rows[chunk.start : chunk.stop].tolist()


def _digests(encoded: Any, by_words: bool) -> numpy.ndarray:
    """Return a row of 32 bytes per input, a hash of what the model sees of it (and of where its words begin)."""
    found = encoded.digests(words=True) if by_words else encoded.digests()
    return numpy.frombuffer(b"".join(found), dtype=numpy.uint8).reshape(-1, DIGEST)


def _distinct(digests: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return where each distinct digest is first, and, of each digest, which of these it equals."""
    # Compared as strings of bytes, which differ in nothing but zeros at the end, and all have one length.
    _, firsts, numbers = numpy.unique(
        numpy.ascontiguousarray(digests).view(f"S{DIGEST}").ravel(), return_index=True, return_inverse=True
    )
    return firsts, numbers


def _fresh_rows(
    numbers: numpy.ndarray, firsts: numpy.ndarray, start: int, lengths: numpy.ndarray | None
) -> numpy.ndarray:
    """Return the rows of a set that no earlier row equals, long ones first."""
    rows = numpy.flatnonzero(firsts[numbers] == numpy.arange(start, start + len(numbers)))
    return rows if lengths is None else rows[numpy.argsort(-lengths[rows], kind="stable")]


def in_chunks(count: int, size: int) -> Iterator[range]:
    """Yield ``range(count)`` in runs of at most ``size``.

    >>> [list(rows) for rows in in_chunks(5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def rows_at_once(device: str, most: int) -> int:
    """Return how many rows to run together without gradients on a type of device, ``most`` or fewer.

    A CPU is slower where the numbers of a batch outgrow its caches, an accelerator where a batch does not fill it.

    >>> rows_at_once("cpu", 128), rows_at_once("cpu", 8), rows_at_once("cuda", 128)
    (32, 8, 128)
    """
    return min(most, ROWS_ON_CPU) if device == "cpu" else most
