"""AutoFreeze: layers settle as the norms of their gradients change less than those of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import pairwise, takewhile

import numpy
import torch

from freezeplan.apply.tensors import whole
from freezeplan.runs.position import Position


class GradientNorms:
    """Add up the norm of each layer's gradient, step by step, over the intervals of an epoch.

    The ``norms`` of ``position`` hold them, and none at the beginning of an epoch. They get a row per interval: the
    steps that were seen, then the sum of the norms of each layer that trains in the phase.
    """

    def __init__(
        self, layers: Sequence[Sequence[torch.nn.Parameter]], intervals: int, position: Position
    ) -> None:
        self.layers, self.intervals, self.position = layers, intervals, position

    def see(self, step: int, steps: int) -> None:
        """Add the gradients of a step of an epoch of ``steps``, counted from 0."""
        sums = self.position.norms
        if not sums:
            sums += [[0.0] * (len(self.layers) + 1) for _ in range(self.intervals)]
        row = sums[step * self.intervals // steps]
        norms = [whole(torch.nn.utils.get_total_norm(_gradients(layer))) for layer in self.layers]
        row[0] += 1.0
        for place, norm in enumerate(torch.stack(norms).tolist() if norms else (), 1):
            row[place] += norm


def _gradients(layer: Sequence[torch.nn.Parameter]) -> list[torch.Tensor]:
    return [tensor.grad for tensor in layer if tensor.grad is not None] or [torch.zeros(())]


def still_by_norms(
    layers: Sequence[str], sums: Sequence[Sequence[float]], percentile: float
) -> tuple[set[str], float]:
    """Return which of the layers that train have settled in an epoch, and below which change the last of them did.

    AutoFreeze (Liu, Agarwal and Venkataraman, AutoFreeze: Automatically Freezing Model Blocks to Accelerate
    Fine-tuning, 2021, https://arxiv.org/abs/2102.01386, and its code): a layer's change is that of the norm of its
    gradient from one interval to the next, as a share of the first; from the bottom, layers have settled as long as
    their change is below a percentile of the changes of all that have not. There a norm is that of the sum of an
    interval's gradients; here the norms of its steps are added up, which takes no copy of the weights.
    """
    still, limit = set[str](), 0.0
    for before, after in pairwise(sums):
        if before[0] and after[0]:
            changes = dict(zip(layers, _changes(before, after), strict=True))
            more, found = _still(changes, still, percentile)
            still, limit = still | more, found if more else limit
    return still, limit


def _changes(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """Return how much the mean norm of each layer changes between two intervals, as a share of the first."""
    first, second = (numpy.array(row[1:]) / row[0] for row in (before, after))
    return (numpy.abs(first - second) / numpy.where(first > 0.0, first, 1.0)).tolist()


def _still(changes: Mapping[str, float], known: Set[str], percentile: float) -> tuple[set[str], float]:
    """Return the layers above those that have settled before whose change is small too, and what that means."""
    left = {layer: change for layer, change in changes.items() if layer not in known}
    limit = float(numpy.percentile(list(left.values()), percentile)) if left else 0.0
    return set(takewhile(lambda layer: left[layer] < limit, left)), limit
