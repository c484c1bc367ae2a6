"""Which rows each optimizer step takes: a pure function of the seed and the step's number."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil

from freezeplan.spec.tables import TrainTable

WINDOW = 50


@dataclass(frozen=True)
class Part:
    """Name one batch of one task: its rows, and its share of its task's loss in this step.

    Shares of one task in one step add up to 1: each is the batch's share of the step's rows, so that
    accumulated gradients are those of one large batch.
    """

    task: str
    rows: tuple[int, ...]
    share: float


@dataclass(frozen=True, eq=False)
class Lengths:
    """Hold the length of each of a task's rows, in tokens; two are the same only if they are one object."""

    rows: tuple[int, ...]


@dataclass(frozen=True)
class Course:
    """Lay out one phase over the tasks that learn in it.

    ``sizes`` maps these tasks to their number of training rows, in the order of the spec. Epochs and steps
    count from 0, within the phase. An epoch is one pass over the longest task; the shorter ones reshuffle and
    repeat. ``offsets`` counts the batches that each task had before the phase, which goes on where they ended.
    The batches of tasks that have ``lengths`` hold rows of similar length.
    """

    sizes: Mapping[str, int]
    train: TrainTable
    offsets: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, Lengths] = field(default_factory=dict)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of each task in one epoch."""
        return ceil(max(self.sizes.values()) / self.train.batch_size)

    @property
    def turns_per_epoch(self) -> int:
        """Optimizer steps of each task in one epoch; the last may accumulate fewer batches."""
        return ceil(self.batches_per_epoch / self.train.accumulation)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch: each is one task's (alternate) or every task's (joint)."""
        return self.turns_per_epoch * (len(self.sizes) if self.train.mixing == "alternate" else 1)

    def epoch_end(self, step: int) -> int:
        """Return the number of steps after which the epoch of a step is complete."""
        return (step // self.steps_per_epoch + 1) * self.steps_per_epoch

    def taken(self, steps: int) -> dict[str, int]:
        """Return how many batches each task has had after some steps, those before the phase included."""
        epochs, within = divmod(steps, self.steps_per_epoch)
        return {
            name: self.offsets.get(name, 0)
            + epochs * self.batches_per_epoch
            + min(self._turns(index, within) * self.train.accumulation, self.batches_per_epoch)
            for index, name in enumerate(self.sizes)
        }

    def _turns(self, index: int, within: int) -> int:
        """Return how many of an epoch's first steps are those of the task at ``index``."""
        if self.train.mixing != "alternate":
            return within
        turns, rest = divmod(within, len(self.sizes))
        return turns + (index < rest)

    def parts(self, step: int) -> tuple[Part, ...]:
        """Return the batches of one step in the order they run, each task's batches together."""
        epoch, within = divmod(step, self.steps_per_epoch)
        names = list(self.sizes)
        if self.train.mixing == "alternate":
            within, turn = divmod(within, len(names))
            names = [names[turn]]
        return tuple(part for name in names for part in self._task_parts(name, epoch, within))

    def epoch_parts(self, epoch: int) -> Iterator[tuple[Part, ...]]:
        """Yield the batches of every step of one epoch."""
        for step in range(epoch * self.steps_per_epoch, (epoch + 1) * self.steps_per_epoch):
            yield self.parts(step)

    def _task_parts(self, name: str, epoch: int, turn: int) -> Iterator[Part]:
        first = turn * self.train.accumulation
        last = min(first + self.train.accumulation, self.batches_per_epoch)
        offset = self.offsets.get(name, 0) + epoch * self.batches_per_epoch
        batches = [self._batch(name, offset + number) for number in range(first, last)]
        total = sum(len(rows) for rows in batches)
        for rows in batches:
            yield Part(name, rows, len(rows) / total)

    def _batch(self, name: str, number: int) -> tuple[int, ...]:
        """Return the rows of a task's batch, counted over the whole run; its passes follow one another."""
        size, batch = self.sizes[name], self.train.batch_size
        passes, within = divmod(number, ceil(size / batch))
        if name in self.lengths:
            return bucketed(self.train.seed, name, passes, batch, self.lengths[name])[within]
        return order(self.train.seed, name, passes, size)[within * batch : (within + 1) * batch]


@lru_cache(maxsize=64)
def order(seed: int, task: str, number: int, size: int) -> tuple[int, ...]:
    """Return the order of a task's rows in its pass ``number``: a permutation of ``range(size)``.

    It depends on nothing but the arguments, so a run can start again at any step.

    >>> order(13, "topic", 0, 5) == order(13, "topic", 0, 5), sorted(order(13, "topic", 1, 5))
    (True, [0, 1, 2, 3, 4])
    """
    rows = list(range(size))
    random.Random(f"{seed}/{task}/{number}").shuffle(rows)
    return tuple(rows)


@lru_cache(maxsize=64)
def bucketed(seed: int, task: str, number: int, batch: int, lengths: Lengths) -> tuple[tuple[int, ...], ...]:
    """Return the batches of a task's pass ``number``: of rows of similar length, every row once.

    The order of the pass is cut into windows of 50 batches, each window is sorted by length and cut into
    batches, and all of these are shuffled. Rows that do not fill a batch come last, as they do without lengths.

    >>> bucketed(13, "topic", 0, 2, Lengths((9, 1, 8, 2, 3)))
    ((1, 3), (4, 0), (2,))
    """
    rows = order(seed, task, number, len(lengths.rows))
    full = len(rows) - len(rows) % batch
    found: list[tuple[int, ...]] = []
    for start in range(0, full, WINDOW * batch):
        window = sorted(rows[start : min(start + WINDOW * batch, full)], key=lengths.rows.__getitem__)
        found += [tuple(window[first : first + batch]) for first in range(0, len(window), batch)]
    random.Random(f"{seed}/{task}/{number}/batches").shuffle(found)
    return (*found, rows[full:]) if full < len(rows) else tuple(found)
