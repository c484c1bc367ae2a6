"""What a run in progress counts of its splits, and the answers to test rows without labels."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from freezeplan.apply.ending import Scores
from freezeplan.runs.events import Observer, Working
from freezeplan.spec.locations import error_at_key
from freezeplan.spec.tables import Spec
from freezeplan.tasks import Scorer
from freezeplan.train.evaluation import Seen, count, in_full
from freezeplan.train.forward import EncodedSplit, Forward
from freezeplan.train.setup import Setup
from freezeplan.train.unlabelled import write_answers


def check_finite(spec: Spec, split: str, scores: Scores, epoch: int) -> None:
    """Refuse to go on (FP503) after an epoch from which a task's loss on a split is not finite."""
    for index, task in enumerate(spec.task):
        loss = scores.get(task.name, {}).get("loss", 0.0)
        if not isfinite(loss):
            message = f"the {split} loss of task `{task.name}` is {loss} after epoch {epoch}"
            raise error_at_key(("task", index, "name"), "FP503", message, help="lower the learning rates")


class Measuring:
    """Evaluate a run's model on its splits, and remember what was counted last of each, after which step.

    ``seen`` is told of every batch of validation rows.
    """

    def __init__(self, setup: Setup, forward: Forward, observer: Observer) -> None:
        self.setup, self.forward, self.observer = setup, forward, observer
        self.seen: Seen | None = None
        self._counted: dict[str, tuple[int, Mapping[str, Scorer]]] = {}

    @property
    def _size(self) -> int:
        return self.setup.spec.train.eval_batch_size

    def forget(self) -> None:
        """Forget what was counted: the weights are others now, after the same step."""
        self._counted.clear()

    def scores(self, split: str, tasks: tuple[str, ...] | None, step: int) -> dict[str, dict[str, float]]:
        """Return the metrics of all tasks that have a split, or of some of them."""
        return {task: scorer.compute() for task, scorer in self._count(split, tasks, step).items()}

    def in_full(self, split: str, step: int, scores: Scores) -> dict[str, dict[str, Any]]:
        """Return all that is known of how the weights after a step do on a split, in plain JSON types.

        They are evaluated only where that was not just done. The metrics are those of ``scores``: what is counted
        again without a store has other bits.
        """
        before, counted = self._counted.get(split, (-1, {}))
        if before != step:
            counted = self._count(split, None, step)
        found = in_full(self.setup.data[split], counted)
        return {task: item | {"metrics": dict(scores[task])} for task, item in found.items()}

    def write_answers(self, folder: Path) -> None:
        """Write the answers to test rows without labels into a folder."""

        def told(task: str, rows: int) -> None:
            of = len(self.setup.unlabelled[task])
            self.observer(Working(f"predicting test rows of task {task}", rows, of))

        write_answers(folder, self.setup.tasks, self.setup.unlabelled, self.forward, self._size, told)

    def take_part_in_answers(self) -> None:
        """Run what the first rank answers, where a forward pass takes all ranks; nothing is kept."""
        ranks = self.setup.ranks
        if ranks.together and not ranks.first:
            with tempfile.TemporaryDirectory() as place:
                self.write_answers(Path(place))

    def _count(self, split: str, tasks: tuple[str, ...] | None, step: int) -> dict[str, Scorer]:
        data: dict[str, EncodedSplit] = dict(self.setup.data[split])
        chosen = {name: rows for name, rows in data.items() if tasks is None or name in tasks}

        def told(task: str, rows: int) -> None:
            self.observer(Working(f"evaluating {split} rows of task {task}", rows, len(chosen[task])))

        seen = self.seen if split == "validation" else None
        found = count(self.forward, chosen, self._size, self.setup.ranks, told, seen)
        if tasks is None:
            self._counted[split] = (step, found)
        return found
