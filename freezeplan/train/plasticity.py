"""Egeria: layers settle as what they put out for the same rows changes less than it did before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from freezeplan.prefix.forms import hidden_output
from freezeplan.runs.position import Position
from freezeplan.train.forward import EncodedSplit, Forward, in_eval_mode
from freezeplan.train.ranks import Ranks

ROWS = 16
"""How many training rows of each task are looked at."""


@dataclass(frozen=True)
class OutputLooks:
    """Look at what the layers of a phase put out, at its beginning and after each interval of an epoch.

    ``look`` returns the similarities of :func:`similarities`. ``position`` holds them until the next look, and how much
    they have changed; ``steps`` are those of the whole run, whose last epoch nothing freezes after.
    """

    look: Callable[[], dict[str, list[float]]]
    intervals: int
    position: Position
    steps: int
    ranks: Ranks

    def begin(self) -> None:
        """Look where a phase begins; one that goes on has looked."""
        if not self.position.outputs:
            self.position.outputs = self.look()

    def after(self, step: int, steps: int) -> None:
        """Look after a step of an epoch of ``steps``, counted from 1, where an interval ends there."""
        position = self.position
        is_end = step * self.intervals // steps > (step - 1) * self.intervals // steps
        if not is_end or position.step + steps - step >= self.steps:
            return
        seen = self.look()
        found = {path: change(position.outputs[path], values) for path, values in seen.items()}
        position.changes.append(self.ranks.gather(found)[0])
        position.outputs = seen


def similarities(
    forward: Forward, data: Mapping[str, EncodedSplit], layers: Sequence[str], at_once: int
) -> dict[str, list[float]]:
    """Return, for each layer, how similar the rows of a sample are to each other by what it puts out.

    ``layers`` are paths of modules. The sample is some training rows of each task, spread over its data, always the
    same, ``at_once`` of them at most; the model runs in eval mode. Each row's products with all rows are divided by
    their norm (Tung and Mori, Similarity-Preserving Knowledge Distillation, 2019, https://arxiv.org/abs/1907.09682).
    Raises :class:`Refused` where layers put out no states.
    """
    found: dict[str, list[float]] = {path: [] for path in layers}
    with in_eval_mode(forward.model), torch.no_grad(), _watched(forward.model, found):
        for task, split in data.items():
            forward.outputs(task, split, _spread(len(split), at_once))
    return found


def _spread(count: int, at_once: int) -> list[int]:
    """Return some of ``count`` rows, spread over all of them.

    >>> _spread(3, 32), _spread(64, 32)[:4], _spread(64, 1)
    ([0, 1, 2], [0, 4, 8, 12], [0, 32])
    """
    taken = min(ROWS, count, max(at_once, 2))
    return [place * count // taken for place in range(taken)]


@contextmanager
def _watched(model: torch.nn.Module, found: Mapping[str, list[float]]) -> Iterator[None]:
    """Add the similarities of what layers put out to their lists, by hooks on them."""

    def add(path: str, _module: torch.nn.Module, _given: Any, output: Any) -> None:
        found[path].extend(_similarity(hidden_output(output)))

    with ExitStack() as stack:
        for path in found:
            stack.callback(model.get_submodule(path).register_forward_hook(partial(add, path)).remove)
        yield


def _similarity(states: torch.Tensor) -> list[float]:
    flat = states.float().flatten(1)
    products = flat @ flat.T
    return (products / products.norm(dim=1, keepdim=True).clamp_min(1e-12)).flatten().tolist()


def change(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the mean squared difference of two similarities: what Egeria calls a layer's plasticity.

    >>> change([1.0, 0.0], [1.0, 0.5])
    0.125
    """
    return sum((one - other) ** 2 for one, other in zip(before, after, strict=True)) / max(1, len(before))


def still_by_outputs(
    layers: Sequence[str], changes: Sequence[Mapping[str, float]], tolerance: float, intervals: int
) -> tuple[set[str], float]:
    """Return which of the layers that train have settled in an epoch, and the largest share that one's change has.

    ``changes`` holds that of each layer in every interval so far, ``intervals`` in an epoch. After Egeria (Wang, Sun,
    Chen, Lai and Chowdhury, Egeria: Efficient DNN Training with Knowledge-Guided Layer Freezing, 2023,
    https://arxiv.org/abs/2201.06227): from the bottom, layers have settled as long as their plasticity was at most a
    share (``tolerance``) of the largest that they have had, throughout the epoch. There it is measured against a
    reference model, and its slope is what counts; here against the model itself an interval ago.
    """
    still, left = set[str](), 0.0
    for path in layers if changes else ():
        most = max(interval[path] for interval in changes)
        share = max(interval[path] for interval in changes[-intervals:]) / most if most > 0.0 else 1.0
        if not share <= tolerance:
            break
        still.add(path)
        left = max(left, share)
    return still, left
