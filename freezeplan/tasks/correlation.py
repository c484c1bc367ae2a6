"""How far numbers go with the numbers that they should be: Pearson's and Spearman's correlation."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum, sqrt
from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    import torch


@dataclass
class Correlation:
    """Hold two numbers per term, the predicted and the true one, and one sum of losses per batch.

    Ranks need all of them; they take 8 bytes a term. What is computed does not depend on their order, so parts
    that are merged in any order give the scores of the whole to the last bit.
    """

    predicted: list[numpy.ndarray] = field(default_factory=list)
    true: list[numpy.ndarray] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def update(self, out: torch.Tensor, target: torch.Tensor, loss: float) -> None:
        """Count one batch: numbers ``(rows, columns)`` or ``(rows,)``."""
        self.add(out.cpu().numpy(), target.cpu().numpy(), loss)

    def add(self, predicted: numpy.ndarray, true: numpy.ndarray, loss: float) -> None:
        """Count the rows of one batch as arrays."""
        self.predicted.append(predicted.reshape(len(predicted), -1))
        self.true.append(true.reshape(len(true), -1))
        self.losses.append(loss)

    def merge(self, other: Correlation) -> None:
        """Count what another has counted."""
        self.predicted += other.predicted
        self.true += other.true
        self.losses += other.losses

    def compute(self) -> dict[str, float]:
        """Return ``pearson`` and ``spearman``, the mean over the columns, and the mean ``loss`` of all terms."""
        predicted, true = (numpy.concatenate(parts) for parts in (self.predicted, self.true))
        columns = [_in_order(*pair) for pair in zip(predicted.T, true.T, strict=True)]
        return {
            "pearson": fsum(pearson(*pair) for pair in columns) / len(columns),
            "spearman": fsum(spearman(*pair) for pair in columns) / len(columns),
            "loss": fsum(self.losses) / true.size,
        }


def pearson(left: numpy.ndarray, right: numpy.ndarray) -> float:
    """Return Pearson's correlation of two rows of numbers; 0 where one of them never changes.

    >>> round(pearson(numpy.array([1.0, 2.0, 3.0]), numpy.array([2.0, 4.0, 6.0])), 9)
    1.0
    """
    left, right = (side.astype(numpy.float64) for side in (left, right))
    left, right = left - left.mean(), right - right.mean()
    scale = sqrt(float((left * left).sum())) * sqrt(float((right * right).sum()))
    if scale == 0.0:
        return 0.0
    return min(1.0, max(-1.0, float((left * right).sum()) / scale))


def spearman(left: numpy.ndarray, right: numpy.ndarray) -> float:
    """Return Spearman's correlation: Pearson's of the ranks, equal numbers sharing the mean of theirs.

    >>> round(spearman(numpy.array([1.0, 2.0, 3.0]), numpy.array([1.0, 10.0, 100.0])), 9)
    1.0
    """
    return pearson(ranks(left), ranks(right))


def ranks(values: numpy.ndarray) -> numpy.ndarray:
    """Return the rank of each number, counted from 1.

    >>> ranks(numpy.array([7.0, 3.0, 7.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, places, counts = numpy.unique(values, return_inverse=True, return_counts=True)
    last = numpy.cumsum(counts)
    return (last - (counts - 1) / 2.0)[places]


def _in_order(predicted: numpy.ndarray, true: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Put pairs into an order of their own, so that no sum depends on where they came from."""
    order = numpy.lexsort((predicted, true))
    return predicted[order], true[order]
