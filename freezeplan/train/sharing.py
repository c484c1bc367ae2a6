"""What several runs of one process over the same data do once: rows, tokens, and what the frozen prefix puts out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from freezeplan.data.encoder import Encoded, Encoder
from freezeplan.data.split import TaskData
from freezeplan.prefix.store import Held
from freezeplan.train.encoded_rows import Data, encoded_data
from freezeplan.train.encoding import TextEncoder


@dataclass
class Shared:
    """Hold what runs leave for those after them.

    ``encoded`` maps an encoder to what it made of columns, known by their identity; ``rows`` keeps these alive.
    ``held`` are boundaries of the frozen prefix in memory, ``budget`` bytes of them at most.
    """

    budget: int
    encoded: dict[str, dict[tuple[int, ...], Encoded]] = field(default_factory=dict)
    rows: list[TaskData] = field(default_factory=list)
    held: dict[str, Held] = field(default_factory=dict)

    def encode(self, tasks: Sequence[TaskData], encoder: Encoder) -> Data:
        """Return all rows encoded; what an equal encoder made of the same columns before is taken as it is."""
        self.rows += tasks
        return encoded_data(tasks, encoder, self.encoded.setdefault(_signature(encoder), {}))

    def keep(self, held: Mapping[str, Held]) -> None:
        """Keep the boundaries that are in memory, as long as the budget lasts.

        The first entries of a boundary stay: those of the weights that all runs begin with. Who takes entries that
        were made from other weights, inputs or versions sees that by their key, and computes them again.
        """
        for boundary, item in held.items():
            size = sum(known.entries.layout.nbytes for known in self.held.values())
            fits = size + item.entries.layout.nbytes <= self.budget
            if item.entries.path is None and fits:
                self.held.setdefault(boundary, item)


SHARED: ContextVar[Shared | None] = ContextVar("SHARED", default=None)


@contextmanager
def shared_work(budget: int) -> Iterator[Shared]:
    """Let the runs that begin inside the block share rows, tokens and boundaries of the frozen prefix."""
    shared = Shared(budget)
    token = SHARED.set(shared)
    try:
        yield shared
    finally:
        SHARED.reset(token)


def _signature(encoder: Encoder) -> str:
    """Return what is equal for encoders that make the same of the same rows; of no two where that cannot be told."""
    whole = getattr(getattr(encoder, "tokenizer", None), "backend_tokenizer", None)
    if not isinstance(encoder, TextEncoder) or whole is None:
        return str(id(encoder))
    told = (whole.to_str(), encoder.names, encoder.max_length, encoder.vocabulary)
    return hashlib.sha256(repr(told).encode()).hexdigest()
