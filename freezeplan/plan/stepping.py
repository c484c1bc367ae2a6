"""How many batches of each task the steps and epochs of a phase take: what the trainer runs, and what plans count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from freezeplan.plan.records import Length
from freezeplan.spec.tables import TrainTable


@dataclass(frozen=True)
class StepCount:
    """Count the steps of one phase over the tasks that learn in it.

    ``sizes`` maps these tasks to their number of training rows, in the order of the spec. An epoch is one pass
    over the longest task; the shorter ones reshuffle and repeat.
    """

    sizes: Mapping[str, int]
    train: TrainTable

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

    def steps(self, length: Length) -> int:
        """Return a phase's length in optimizer steps; of one that a metric ends, the most it can have.

        >>> count = StepCount({"topic": 100}, TrainTable())
        >>> [count.steps(Length(unit, 2)) for unit in ("epochs", "steps", "until")]
        [8, 2, 8]
        """
        return length.count if length.unit == "steps" else length.count * self.steps_per_epoch

    def batches(self, steps: int) -> dict[str, int]:
        """Return how many batches of each task the first steps take."""
        epochs, within = divmod(steps, self.steps_per_epoch)
        return {
            name: epochs * self.batches_per_epoch
            + min(self._turns(index, within) * self.train.accumulation, self.batches_per_epoch)
            for index, name in enumerate(self.sizes)
        }

    def _turns(self, index: int, within: int) -> int:
        """Return how many of an epoch's first steps are those of the task at ``index``."""
        if self.train.mixing != "alternate":
            return within
        turns, rest = divmod(within, len(self.sizes))
        return turns + (index < rest)

    def rows(self, steps: int) -> float:
        """Return how many rows the first steps run; a pass ends with a smaller batch, so a batch counts its mean."""
        taken = self.batches(steps)
        return sum(
            taken[name] * size / ceil(size / self.train.batch_size) for name, size in self.sizes.items()
        )
