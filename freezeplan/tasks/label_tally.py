"""Scores of several labels per row that grow batch by batch: micro-F1 and macro-F1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING, Any

import numpy

from freezeplan.tasks.report import ClassCounts, report_of

if TYPE_CHECKING:
    import torch


@dataclass
class LabelTally:
    """Hold counts per label and one sum of losses per batch.

    ``terms`` counts rows times labels, ``hits`` of each label the rows that have it and got it, ``true`` those that
    have it, ``predicted`` those that got it.

    >>> tally = LabelTally()
    >>> tally.add(numpy.array([[1, 0], [1, 1]]), numpy.array([[1, 0], [0, 1]]), loss=2.0)
    >>> tally.compute()
    {'micro_f1': 0.8, 'macro_f1': 0.8333333333333333, 'loss': 0.5}
    """

    terms: int = 0
    hits: numpy.ndarray = field(default_factory=lambda: numpy.zeros(1, dtype=numpy.int64))
    true: numpy.ndarray = field(default_factory=lambda: numpy.zeros(1, dtype=numpy.int64))
    predicted: numpy.ndarray = field(default_factory=lambda: numpy.zeros(1, dtype=numpy.int64))
    losses: list[float] = field(default_factory=list)

    def update(self, out: torch.Tensor, target: torch.Tensor, loss: float) -> None:
        """Count one batch by its logits and targets, both ``(rows, labels)``; a logit above 0 gives its label."""
        self.add(target.cpu().numpy() > 0.5, (out > 0).cpu().numpy(), loss)

    def add(self, true: numpy.ndarray, predicted: numpy.ndarray, loss: float) -> None:
        """Count one batch by arrays that say which row has which label."""
        true, predicted = true.astype(bool), predicted.astype(bool)
        self.terms += true.size
        self.hits = self.hits + (true & predicted).sum(axis=0)
        self.true = self.true + true.sum(axis=0)
        self.predicted = self.predicted + predicted.sum(axis=0)
        self.losses.append(loss)

    def merge(self, other: LabelTally) -> None:
        """Count what another tally has counted."""
        self.terms += other.terms
        self.hits = self.hits + other.hits
        self.true, self.predicted = self.true + other.true, self.predicted + other.predicted
        self.losses += other.losses

    def compute(self) -> dict[str, float]:
        """Return ``micro_f1``, ``macro_f1`` and mean ``loss`` of all rows so far; there must be some.

        F1 is ``2 hits / (true + predicted)``, 0 where nothing is true or predicted: over all labels together
        (micro), or of each label, then their plain mean (macro); see ``f1_score`` of scikit-learn.
        """
        occurring = self.true + self.predicted
        each = 2.0 * self.hits / numpy.maximum(occurring, 1)
        return {
            "micro_f1": 2.0 * int(self.hits.sum()) / max(int(occurring.sum()), 1),
            "macro_f1": float(numpy.average(each)),
            "loss": fsum(self.losses) / self.terms,
        }

    def report(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the scores of each label."""
        counts = zip(self.hits.tolist(), self.true.tolist(), self.predicted.tolist(), strict=True)
        return {
            "labels": report_of(
                {name: ClassCounts(*found) for name, found in zip(labels, counts, strict=True)}, micro=True
            )
        }
