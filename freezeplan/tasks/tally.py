"""Scores that grow batch by batch: mean loss, accuracy and macro-F1, the last two to the bits of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    import torch


def _none() -> numpy.ndarray:
    return numpy.zeros(0, dtype=numpy.int64)


@dataclass
class Tally:
    """Hold what the scores of some rows need: counts per class, and one sum of losses per batch.

    ``rows`` counts them, ``hits`` those of each class that were predicted right, ``true`` and ``predicted`` its
    rows and its predictions. Tallies of parts, merged in any order, give the scores of the whole to the last bit.

    >>> tally = Tally()
    >>> tally.add(numpy.array([0, 1, 1, 2]), numpy.array([0, 1, 2, 2]), loss=2.0)
    >>> tally.compute()
    {'accuracy': 0.75, 'macro_f1': 0.7777777777777777, 'loss': 0.5}
    """

    rows: int = 0
    hits: numpy.ndarray = field(default_factory=_none)
    true: numpy.ndarray = field(default_factory=_none)
    predicted: numpy.ndarray = field(default_factory=_none)
    losses: list[float] = field(default_factory=list)

    def add(self, truth: numpy.ndarray, predicted: numpy.ndarray, loss: float) -> None:
        """Count the rows of one batch: class numbers from 0, as arrays of one length, and the sum of their losses."""
        self.rows += len(truth)
        self.hits = _sum(self.hits, numpy.bincount(truth[truth == predicted]))
        self.true = _sum(self.true, numpy.bincount(truth))
        self.predicted = _sum(self.predicted, numpy.bincount(predicted))
        self.losses.append(loss)

    def update(self, out: torch.Tensor, target: torch.Tensor, loss: float) -> None:
        """Count one batch by its logits ``(rows, classes)`` and class numbers ``(rows,)``."""
        self.add(target.cpu().numpy(), out.argmax(dim=1).cpu().numpy(), loss)

    def compute(self) -> dict[str, float]:
        """Return ``accuracy``, ``macro_f1`` and mean ``loss`` of all rows so far; there must be some.

        Macro-F1 is the plain mean of the F1 of the classes that occur among the rows or the predictions, and F1 is
        ``2 tp / (rows of the class + predictions of it)``; see ``f1_score(average="macro")`` of scikit-learn.
        """
        occurring = _sum(self.true, self.predicted)
        hits = _sum(self.hits, numpy.zeros(len(occurring), dtype=numpy.int64))[occurring > 0]
        return {
            "accuracy": int(self.hits.sum()) / self.rows,
            "macro_f1": float(numpy.average(2.0 * hits / occurring[occurring > 0])),
            "loss": fsum(self.losses) / self.rows,
        }

    def merge(self, other: Tally) -> None:
        """Count what another tally has counted."""
        self.rows += other.rows
        self.hits = _sum(self.hits, other.hits)
        self.true = _sum(self.true, other.true)
        self.predicted = _sum(self.predicted, other.predicted)
        self.losses += other.losses


def _sum(left: numpy.ndarray, right: numpy.ndarray) -> numpy.ndarray:
    """Add counts of classes; what is missing at the end of the shorter array is 0."""
    longer, shorter = (left, right) if len(left) >= len(right) else (right, left)
    found = longer.astype(numpy.int64)
    found[: len(shorter)] += shorter
    return found
