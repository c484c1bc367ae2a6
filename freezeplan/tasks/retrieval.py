"""How well anchors find their positives among all texts that stand on the other side of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING, Any

import numpy

if TYPE_CHECKING:
    import torch

TIE = 1e-6
"""Cosines that differ by no more are equal: that is what other batch mates round otherwise."""
BLOCK = 1 << 22
TOP = (1, 10)


@dataclass
class Retrieval:
    """Hold one vector per text, which texts can be found, and the pairs of anchors and positives.

    Texts are numbers, the same for the same text, which is kept once. What is computed does not depend on the order
    in which batches come, so parts that are merged in any order give the scores of the whole to the last bit.

    >>> scorer = Retrieval(temperature=1.0)
    >>> scorer.add([[0, 1], [2, 3]], numpy.array([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.5]]]))
    >>> scores = scorer.compute()
    >>> scores["mrr"], scores["recall_at_1"], scores["recall_at_10"], round(scores["loss"], 4)
    (1.0, 1.0, 1.0, 0.568)
    """

    temperature: float
    vectors: dict[int, numpy.ndarray] = field(default_factory=dict)
    candidates: set[int] = field(default_factory=set)
    pairs: set[tuple[int, int]] = field(default_factory=set)

    def update(self, out: torch.Tensor, target: torch.Tensor, loss: float) -> None:
        """Count one batch: vectors ``(rows, 2 or 3, hidden)`` and numbers of texts; its own loss is passed over."""
        self.add(target.tolist(), out.cpu().numpy())

    def add(self, texts: Sequence[Sequence[int]], vectors: numpy.ndarray) -> None:
        """Count rows as lists of texts and an array of their vectors."""
        lengths = numpy.linalg.norm(vectors, axis=-1, keepdims=True)
        units = (vectors / numpy.maximum(lengths, 1e-12)).astype(numpy.float32)
        for row, its in zip(texts, units, strict=True):
            self.pairs.add((row[0], row[1]))
            self.candidates.update(row[1:])
            for text, unit in zip(row, its, strict=True):
                self._keep(text, unit)

    def merge(self, other: Retrieval) -> None:
        """Count what another has counted."""
        self.pairs |= other.pairs
        self.candidates |= other.candidates
        for text, unit in other.vectors.items():
            self._keep(text, unit)

    def _keep(self, text: int, unit: numpy.ndarray) -> None:
        """Keep one vector of a text: of several, which batches round differently, the same in any order."""
        known = self.vectors.get(text)
        if known is None or unit.tobytes() < known.tobytes():
            self.vectors[text] = unit.copy()

    def compute(self) -> dict[str, float]:
        """Return ``mrr``, ``recall_at_1`` and ``recall_at_10`` of the anchors, and the mean ``loss`` of the pairs.

        An anchor's candidates are all texts but its own. The rank of its positive is 1 + the candidates that are as
        near to the anchor or nearer: a tie counts as a miss. Its other positives are not among them, and have the ranks
        after the nearer ones. MRR is the mean of 1 / the best rank, recall at k the mean share of an anchor's positives
        that have a rank up to k (Manning et al., Introduction to Information Retrieval, 2008, chapter 8,
        https://nlp.stanford.edu/IR-book/). The loss is that of one batch with all rows in it.
        """
        places, ranks, losses = self._placed()
        counts = numpy.bincount(places)
        recalls = {
            f"recall_at_{top}": fsum(numpy.bincount(places, ranks <= top) / counts) / len(counts)
            for top in TOP
        }
        mrr = fsum(_reciprocal(places, ranks)) / len(counts)
        return {"mrr": mrr, **recalls, "loss": fsum(losses) / len(losses)}

    def reciprocal_ranks(self) -> numpy.ndarray:
        """Return of each anchor, in the order of their numbers, 1 / the best rank of a positive: MRR is their mean."""
        places, ranks, _ = self._placed()
        return _reciprocal(places, ranks)

    def _placed(self) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """Return of each pair which anchor it has, counted in their order, the rank of its positive, and its loss."""
        pairs = sorted(self.pairs)
        anchors = sorted({anchor for anchor, _ in pairs})
        ranks, losses = self._ranks(anchors, sorted(self.candidates), pairs)
        return numpy.searchsorted(anchors, [anchor for anchor, _ in pairs]), ranks, losses

    def _table(self, texts: Sequence[int]) -> Any:
        return numpy.stack([self.vectors[text] for text in texts])

    def _cosines(self, block: Any, table: Any) -> numpy.ndarray:
        return block @ table.T

    def _ranks(
        self, anchors: Sequence[int], candidates: Sequence[int], pairs: Sequence[tuple[int, int]]
    ) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Return the rank of each pair's positive, and its loss; all arguments are sorted."""
        table = self._table(candidates)
        size = max(1, BLOCK // len(candidates))
        firsts = [anchor for anchor, _ in pairs]
        found = []
        for start in range(0, len(anchors), size):
            block = anchors[start : start + size]
            scores = self._cosines(self._table(block), table)
            low, high = numpy.searchsorted(firsts, block[0]), numpy.searchsorted(firsts, block[-1], "right")
            rows = numpy.searchsorted(block, firsts[low:high])
            columns = numpy.searchsorted(candidates, [positive for _, positive in pairs[low:high]])
            own = scores[rows, columns]
            scores[rows, columns] = -numpy.inf
            scores[_at_home(block, candidates)] = -numpy.inf
            found.append((_ranks(scores, rows, own), _losses(scores[rows], own, self.temperature)))
        return tuple(numpy.concatenate(part) for part in zip(*found, strict=True))


def _reciprocal(places: numpy.ndarray, ranks: numpy.ndarray) -> numpy.ndarray:
    best = numpy.full(places[-1] + 1, numpy.iinfo(numpy.int64).max)
    numpy.minimum.at(best, places, ranks)
    return 1.0 / best


def _at_home(anchors: Sequence[int], candidates: Sequence[int]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the places at which an anchor meets its own text among the candidates."""
    columns = numpy.minimum(numpy.searchsorted(candidates, anchors), len(candidates) - 1)
    rows = numpy.flatnonzero(numpy.asarray(candidates)[columns] == anchors)
    return rows, columns[rows]


def _ranks(scores: numpy.ndarray, rows: numpy.ndarray, own: numpy.ndarray) -> numpy.ndarray:
    """Return each positive's rank: after all others as near as it, and after the nearer positives of its anchor."""
    # Written so that what is no number is near to everything.
    others = (~(scores[rows] < (own - TIE)[:, None])).sum(axis=1)
    order = numpy.lexsort((-own, rows))
    nearer = numpy.empty(len(rows), dtype=numpy.int64)
    nearer[order] = numpy.arange(len(rows)) - numpy.searchsorted(rows, rows)
    return 1 + others + nearer


def _losses(others: numpy.ndarray, own: numpy.ndarray, temperature: float) -> numpy.ndarray:
    """Return the cross-entropy of each positive among others."""
    scaled = numpy.concatenate([own[:, None], others], axis=1).astype(numpy.float64) / temperature
    most = scaled.max(axis=1)
    return most + numpy.log(numpy.exp(scaled - most[:, None]).sum(axis=1)) - scaled[:, 0]
