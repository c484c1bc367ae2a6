"""One pass over all distinct inputs that keeps the features of every depth, within a budget of memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy
import torch

from freezeplan.choose.depths import Batch, Keep, NoDepths, first_pieces, pooling, watched
from freezeplan.data.spool import NoRoom, Spool
from freezeplan.data.task_rows import no_room
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.prefix.examples import Examples, rows_at_once
from freezeplan.spec.amounts import parse_bytes
from freezeplan.train.forward import EncodedSplit
from freezeplan.train.setup import Setup
from freezeplan.train.tokens import WORDS

Told = Callable[[int, int], None]


@dataclass(frozen=True)
class Features:
    """Hold the features of some splits at every depth.

    ``layers`` are the paths of the layers that ran. ``depths`` holds an array ``(entries, width)`` per depth, or
    ``(words of all entries, width)`` where ``counts`` says how many words each entry has. ``entries`` says of each
    split which entry each of its inputs is.
    """

    layers: tuple[str, ...]
    depths: tuple[numpy.ndarray, ...]
    entries: Mapping[str, numpy.ndarray]
    counts: numpy.ndarray | None

    def places(self, split: str) -> numpy.ndarray:
        """Return where the features of a split's inputs (or words) stand, in their order."""
        entries = self.entries[split]
        if self.counts is None:
            return entries
        starts = numpy.cumsum(self.counts) - self.counts
        counts = self.counts[entries]
        within = numpy.arange(counts.sum()) - numpy.repeat(numpy.cumsum(counts) - counts, counts)
        return numpy.repeat(starts[entries], counts) + within

    def ends(self, split: str) -> numpy.ndarray | None:
        """Return where the words of each row of a split end, None where rows have one vector each."""
        return None if self.counts is None else numpy.cumsum(self.counts[self.entries[split]])

    @property
    def nbytes(self) -> int:
        """Bytes of all features."""
        return sum(depth.nbytes for depth in self.depths)


def extracted(setup: Setup, splits: Sequence[EncodedSplit], over_words: bool, told: Told) -> Features:
    """Run every distinct input of some splits once; return the features of all depths.

    Beyond ``train.store_budget`` they lie in unnamed files of the temporary folder. ``told`` is called with the inputs
    that are done and their number. Raises ``DiagnosticError``: FP592 where there is nothing to be seen at the layers,
    FP490 where the temporary folder is full.
    """
    examples = Examples({split.name: split.inputs for split in splits}, by_words=over_words)
    try:
        return _Pass(setup, splits, examples, over_words).run(told)
    except NoDepths as problem:
        message = f"the layers of `{setup.plan.model}` cannot be probed: {problem}"
        raise DiagnosticError([diagnostic("FP592", message)]) from None
    except NoRoom as problem:
        raise no_room(problem) from None


class _Pass:
    """Fill one spool per depth, batch by batch."""

    def __init__(
        self, setup: Setup, splits: Sequence[EncodedSplit], examples: Examples, over_words: bool
    ) -> None:
        self.setup, self.examples, self.over_words = setup, examples, over_words
        self.inputs = {split.name: split.inputs for split in splits}
        self.device = setup.device
        self.layers: tuple[str, ...] = ()
        self.widths: tuple[int, ...] = ()
        self.spools: list[Spool] = []
        self.counts: list[numpy.ndarray] = []

    def run(self, told: Told) -> Features:
        self.setup.model.eval()
        size, done = rows_at_once(self.device.type, self.setup.spec.train.eval_batch_size), 0
        for source, rows in self.examples.batches(size):
            self._add(source, rows)
            done += len(rows)
            told(done, len(self.examples))
        depths = tuple(
            spool.array(numpy.float32).reshape(-1, width)
            for spool, width in zip(self.spools, self.widths, strict=True)
        )
        self._check_finite(depths)
        counts = numpy.concatenate(self.counts) if self.over_words else None
        return Features(self.layers, depths, self.examples.entries, counts)

    def _add(self, source: str, rows: Sequence[int]) -> None:
        batch = self.setup.encoder.batch(self.inputs[source], rows, self.device)
        seen = watched(self.setup.model, self.setup.stacks, batch, self._keep(source, rows, batch))
        widths = tuple(kept.shape[1] for kept in seen.kept)
        if not self.spools:
            budget = parse_bytes(self.setup.spec.train.store_budget) // len(widths)
            self.layers, self.widths = seen.layers, widths
            self.spools = [Spool(budget) for _ in widths]
        if (seen.layers, widths) != (self.layers, self.widths):
            raise NoDepths("other layers run on other inputs")
        for spool, kept in zip(self.spools, seen.kept, strict=True):
            spool.append(numpy.ascontiguousarray(kept.cpu().numpy()).data.cast("B"))

    def _keep(self, source: str, rows: Sequence[int], batch: Batch) -> Keep:
        if not self.over_words:
            return pooling(self.setup.model, batch)
        begins = self.inputs[source].padded(WORDS, rows, 0) > 0
        self.counts.append(begins.sum(axis=1))
        return first_pieces(torch.from_numpy(begins).to(self.device))

    def _check_finite(self, depths: Sequence[numpy.ndarray]) -> None:
        for depth, values in enumerate(depths):
            if not numpy.isfinite(values).all():
                raise NoDepths(f"what is at depth {depth} is not finite")
