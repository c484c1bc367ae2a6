"""Which rows each optimizer step takes: a pure function of the seed and the step's number."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy

from freezeplan.plan.stepping import StepCount

WINDOW = 50


@dataclass(frozen=True)
class Part:
    """Name one batch of one task, and its rows."""

    task: str
    rows: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Lengths:
    """Hold the length of each of a task's rows, in tokens; two are the same only if they are one object."""

    rows: Sequence[int]


@dataclass(frozen=True)
class Course(StepCount):
    """Lay out one phase over the tasks that learn in it.

    Epochs and steps count from 0, within the phase. ``offsets`` counts the batches that each task had before the
    phase, which goes on where they ended.
    The batches of tasks that have ``lengths`` hold rows of similar length. Rows of ``streamed`` tasks are numbered in
    the order in which they come, over the whole run.
    """

    offsets: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, Lengths] = field(default_factory=dict)
    streamed: frozenset[str] = frozenset()
    _passes: dict[str, tuple[int, numpy.ndarray]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def epoch_end(self, step: int) -> int:
        """Return the number of steps after which the epoch of a step is complete."""
        return (step // self.steps_per_epoch + 1) * self.steps_per_epoch

    def taken(self, steps: int) -> dict[str, int]:
        """Return how many batches each task has had after some steps, those before the phase included."""
        return {name: self.offsets.get(name, 0) + count for name, count in self.batches(steps).items()}

    def parts(self, step: int) -> tuple[Part, ...]:
        """Return the batches of one step in the order they run, each task's batches together."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if self.train.mixing == "joint":
            return tuple(part for name in self.sizes for part in self._task_parts(name, epoch, within))
        name, turn = self.turn(epoch, within)
        return tuple(self._task_parts(name, epoch, turn))

    def epoch_parts(self, epoch: int) -> Iterator[tuple[Part, ...]]:
        """Yield the batches of every step of one epoch."""
        for step in range(epoch * self.steps_per_epoch, (epoch + 1) * self.steps_per_epoch):
            yield self.parts(step)

    def _task_parts(self, name: str, epoch: int, turn: int) -> Iterator[Part]:
        first, batches = turn * self.train.accumulation, self.batches_per_epoch[name]
        last = min(first + self.train.accumulation, batches)
        offset = self.offsets.get(name, 0) + epoch * batches
        for number in range(first, last):
            yield Part(name, self._batch(name, offset + number))

    def _batch(self, name: str, number: int) -> tuple[int, ...]:
        """Return the rows of a task's batch, counted over the whole run; its passes follow one another."""
        batch = self.batch_size(name)
        if name in self.streamed:
            return tuple(range(number * batch, (number + 1) * batch))
        passes, within = divmod(number, self.batches_per_pass(name))
        rows = self._pass(name, passes)
        return tuple(rows[within * batch : (within + 1) * batch].tolist())

    def _pass(self, name: str, number: int) -> numpy.ndarray:
        """Return all rows of a task's pass, as its batches take them one after the other.

        Only the pass that was asked for last is kept: a run goes through them in their order.
        """
        kept = self._passes.get(name)
        if kept is None or kept[0] != number:
            kept = (number, self._rows_of_pass(name, number))
            self._passes[name] = kept
        return kept[1]

    def _rows_of_pass(self, name: str, number: int) -> numpy.ndarray:
        seed, size = self.train.seed, self.sizes[name]
        if name in self.lengths:
            return bucketed(seed, name, number, self.batch_size(name), self.lengths[name].rows)
        return order(seed, name, number, size)


def order(seed: int, task: str, number: int, size: int) -> numpy.ndarray:
    """Return the order of a task's rows in its pass ``number``: a permutation of ``range(size)``.

    It depends on nothing but the arguments, so a run can start again at any step.

    >>> order(13, "topic", 0, 5).tolist() == order(13, "topic", 0, 5).tolist()
    True
    >>> sorted(order(13, "topic", 1, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    return _shuffled(f"{seed}/{task}/{number}", size)


def bucketed(seed: int, task: str, number: int, batch: int, lengths: Sequence[int]) -> numpy.ndarray:
    """Return the rows of a task's pass ``number`` in batches of rows of similar length, every row once.

    The order of the pass is cut into windows of 50 batches, each window is sorted by length and cut into
    batches, and all of these are shuffled. Rows that do not fill a batch come last, as they do without lengths.

    >>> bucketed(13, "topic", 0, 2, (9, 1, 8, 2, 3)).tolist()
    [1, 3, 4, 0, 2]
    """
    rows, counts = order(seed, task, number, len(lengths)), numpy.asarray(lengths)
    full = len(rows) - len(rows) % batch
    windows = [rows[start : min(start + WINDOW * batch, full)] for start in range(0, full, WINDOW * batch)]
    if windows:
        found = numpy.concatenate([part[numpy.argsort(counts[part], kind="stable")] for part in windows])
        found = found.reshape(-1, batch)[_shuffled(f"{seed}/{task}/{number}/batches", full // batch)]
        return numpy.concatenate([found.ravel(), rows[full:]])
    return rows


def _shuffled(seed: str, size: int) -> numpy.ndarray:
    """Return ``range(size)`` as Python shuffles it, four bytes a number."""
    rows = array("I", range(size))
    random.Random(seed).shuffle(rows)
    return numpy.frombuffer(rows, dtype=numpy.uint32)
