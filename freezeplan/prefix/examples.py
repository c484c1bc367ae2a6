"""Numbers the distinct inputs of all tasks and splits, so that equal ones are stored once."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Rows = Sequence[int]


class Examples:
    """Give each distinct input of some encoded sets a number, its entry in the store.

    ``sources`` maps names of the caller's choice (a split of a task) to encoded texts or images. ``entries``
    maps each name to the entry of every row. Entries are numbered in the order in which they are computed: set
    by set, long texts first, so that a batch holds little padding. ``lengths`` counts each entry's real tokens,
    None for images. ``digest`` is a hash of all entries in order.
    """

    def __init__(self, sources: Mapping[str, Any]) -> None:
        self.entries: dict[str, list[int]] = {}
        self.spans: list[tuple[str, Rows]] = []
        lengths: list[int] = []
        known: dict[bytes, int] = {}
        for name, encoded in sources.items():
            digests, counts = row_digests(encoded), token_counts(encoded)
            fresh = _first_rows(digests, known, counts)
            known |= {digests[row]: place for place, row in enumerate(fresh, len(known))}
            self.spans.append((name, fresh))
            self.entries[name] = [known[digest] for digest in digests]
            lengths += [counts[row] for row in fresh] if counts else []
        self.lengths = tuple(lengths) or None
        self.digest = hashlib.sha256(b"".join(known)).hexdigest()

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.spans)

    def batches(self, size: int) -> Iterator[tuple[str, Rows]]:
        """Yield the rows to compute, at most ``size`` of one set at a time, in the order of their entries."""
        for name, rows in self.spans:
            for chunk in in_chunks(len(rows), size):
                yield name, rows[chunk.start : chunk.stop]


def _first_rows(
    digests: Sequence[bytes], known: Mapping[bytes, int], counts: Sequence[int] | None
) -> list[int]:
    first: dict[bytes, int] = {}
    for row, digest in enumerate(digests):
        if digest not in known:
            first.setdefault(digest, row)
    return sorted(first.values(), key=lambda row: -counts[row]) if counts else list(first.values())


def row_digests(encoded: Any) -> list[bytes]:
    """Return a hash of each row's numbers: of all inputs of a text, of the pixels of an image."""
    if hasattr(encoded, "pixels"):
        return [hashlib.sha256(row.contiguous().numpy().tobytes()).digest() for row in encoded.pixels]
    names = sorted(encoded.inputs)
    columns = [encoded.inputs[name] for name in names]
    return [_digest(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _digest(inputs: Iterator[tuple[str, Sequence[int]]]) -> bytes:
    whole = hashlib.sha256()
    for name, numbers in inputs:
        whole.update(f"{name}:{len(numbers)}:".encode())
        whole.update(array("q", numbers).tobytes())
    return whole.digest()


def token_counts(encoded: Any) -> list[int] | None:
    """Return how many real tokens each text has, None for images."""
    if hasattr(encoded, "pixels"):
        return None
    mask = encoded.inputs.get("attention_mask")
    if mask is None:
        return [len(numbers) for numbers in encoded.inputs["input_ids"]]
    return [sum(numbers) for numbers in mask]


def in_chunks(count: int, size: int) -> Iterator[range]:
    """Yield ``range(count)`` in runs of at most ``size``.

    >>> [list(rows) for rows in in_chunks(5, 2)]
    [[0, 1], [2, 3], [4]]
    """
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
