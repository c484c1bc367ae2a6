"""How many batches of each task the steps and epochs of a phase take: what the trainer runs, and what plans count."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

from freezeplan.plan.learning import learning_tasks
from freezeplan.plan.mixing import quotas, temperature_shares
from freezeplan.plan.records import Length, Plan
from freezeplan.spec.tables import Spec, TrainTable


@dataclass(frozen=True)
class Order:
    """Say of each step of an epoch which task takes it, by its place, and how many of its steps came before."""

    tasks: array[int]
    turns: array[int]


@dataclass(frozen=True)
class StepCount:
    """Count the steps of one phase over the tasks that learn in it.

    ``sizes`` maps these tasks to their number of training rows, in the order of the spec; ``batch_sizes`` maps those
    that have batches of their own size to it. ``phase`` is the phase's place among the others, which the order of
    mixed tasks depends on. An epoch is one pass over the task with the most batches, which the others repeat
    (``alternate``, ``joint``), or as many batches as one pass over each of them (``proportional``, ``temperature``).
    """

    sizes: Mapping[str, int]
    train: TrainTable
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    phase: int = 0
    _orders: dict[int, Order] = field(default_factory=dict, init=False, repr=False, compare=False)

    def batch_size(self, task: str) -> int:
        """Return how many rows a whole batch of a task has."""
        return self.batch_sizes.get(task, self.train.batch_size)

    def batches_per_pass(self, task: str) -> int:
        """Return in how many batches a task's rows come once."""
        return ceil(self.sizes[task] / self.batch_size(task))

    @cached_property
    def batches_per_epoch(self) -> dict[str, int]:
        """Batches of each task in one epoch."""
        passes = {name: self.batches_per_pass(name) for name in self.sizes}
        if self.train.mixing in ("alternate", "joint"):
            return dict.fromkeys(self.sizes, max(passes.values()))
        temperature = self.train.temperature or 1.0
        if self.train.mixing == "proportional" or temperature == 1.0:
            return passes
        rows = temperature_shares(self.sizes, temperature)
        shares = {name: share / self.batch_size(name) for name, share in rows.items()}
        return quotas(sum(passes.values()), shares)

    @cached_property
    def turns_per_epoch(self) -> dict[str, int]:
        """Optimizer steps of each task in one epoch; the last may accumulate fewer batches."""
        return {name: ceil(count / self.train.accumulation) for name, count in self.batches_per_epoch.items()}

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch: each is every task's (joint), or else one task's."""
        turns = self.turns_per_epoch.values()
        return max(turns) if self.train.mixing == "joint" else sum(turns)

    def steps(self, length: Length) -> int:
        """Return a phase's length in optimizer steps; of one that a metric ends, the most it can have.

        >>> count = StepCount({"topic": 100}, TrainTable())
        >>> [count.steps(Length(unit, 2)) for unit in ("epochs", "steps", "until")]
        [8, 2, 8]
        """
        return length.count if length.unit == "steps" else length.count * self.steps_per_epoch

    def turn(self, epoch: int, within: int) -> tuple[str, int]:
        """Return whose step of an epoch it is, not of a joint one, and how many of the task's steps came before."""
        names = list(self.sizes)
        if self.train.mixing == "alternate":
            turn, place = divmod(within, len(names))
            return names[place], turn
        order = self._order(epoch)
        return names[order.tasks[within]], order.turns[within]

    def batches(self, steps: int) -> dict[str, int]:
        """Return how many batches of each task the first steps take."""
        epochs, within = divmod(steps, self.steps_per_epoch)
        turns = self._turns(epochs, within)
        return {
            name: epochs * count + min(turns[name] * self.train.accumulation, count)
            for name, count in self.batches_per_epoch.items()
        }

    def _turns(self, epoch: int, within: int) -> dict[str, int]:
        """Return how many of an epoch's first steps each task takes."""
        if self.train.mixing == "joint":
            return dict.fromkeys(self.sizes, within)
        if self.train.mixing == "alternate":
            turns, rest = divmod(within, len(self.sizes))
            return {name: turns + (index < rest) for index, name in enumerate(self.sizes)}
        first = self._order(epoch).tasks[:within] if within else array("I")
        return {name: first.count(index) for index, name in enumerate(self.sizes)}

    def _order(self, epoch: int) -> Order:
        """Return the order of an epoch's steps; only the one that was asked for last is kept."""
        if epoch not in self._orders:
            self._orders.clear()
            seed = f"{self.train.seed}/tasks/{self.phase}/{epoch}"
            self._orders[epoch] = order_of_tasks(seed, list(self.turns_per_epoch.values()))
        return self._orders[epoch]

    def rows(self, steps: int) -> float:
        """Return how many rows the first steps run; a pass ends with a smaller batch, so a batch counts its mean."""
        return sum(self.rows_of(self.batches(steps)).values())

    @property
    def rows_per_epoch(self) -> dict[str, float]:
        """Rows of each task that an epoch runs, repeated ones counted again."""
        return self.rows_of(self.batches_per_epoch)

    def rows_of(self, batches: Mapping[str, int]) -> dict[str, float]:
        """Return how many rows some batches of each task hold, each counted as its mean."""
        return {
            name: count * self.sizes[name] / self.batches_per_pass(name) for name, count in batches.items()
        }


def step_count(spec: Spec, rows: Mapping[str, int], learning: Iterable[str], phase: int) -> StepCount:
    """Return the count of a phase in which some tasks learn; ``rows`` maps tasks to their training rows."""
    return StepCount({name: rows[name] for name in learning}, spec.train, batch_sizes_of(spec), phase)


def steps_of_phases(spec: Spec, plan: Plan, rows: Mapping[str, int]) -> tuple[StepCount | None, ...]:
    """Return the count of each phase, None of those in which no task learns."""
    found = []
    for phase in range(len(plan.phases)):
        learning = learning_tasks(spec, plan, phase)
        found.append(step_count(spec, rows, learning, phase) if learning else None)
    return tuple(found)


def batch_sizes_of(spec: Spec) -> dict[str, int]:
    """Return the sizes of batches of the tasks that say one of their own."""
    return {task.name: task.batch_size for task in spec.task if task.batch_size is not None}


def order_of_tasks(seed: str, turns: Sequence[int]) -> Order:
    """Return an order in which each task, by its place, has exactly so many turns: all of them, shuffled.

    >>> sorted(order_of_tasks("13/tasks/0/0", [3, 1]).tasks)
    [0, 0, 0, 1]
    """
    tasks = array("I", (index for index, count in enumerate(turns) for _ in range(count)))
    random.Random(seed).shuffle(tasks)
    before, seen = array("I"), [0] * len(turns)
    for task in tasks:
        before.append(seen[task])
        seen[task] += 1
    return Order(tasks, before)
