"""Scores that grow batch by batch: mean loss, accuracy and macro-F1, the last two to the bits of scikit-learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING, Any

import numpy

from freezeplan.tasks.report import ClassCounts, report_of

if TYPE_CHECKING:
    import torch


@dataclass
class Tally:
    """Hold what the scores of some rows need: counts of predictions, and one sum of losses per batch.

    ``pairs`` counts rows by true and predicted class: a confusion matrix without its zeros. Tallies of parts, merged
    in any order, give the scores of the whole to the last bit.

    >>> tally = Tally()
    >>> tally.add(numpy.array([0, 1, 1, 2]), numpy.array([0, 1, 2, 2]), loss=2.0)
    >>> tally.compute()
    {'accuracy': 0.75, 'macro_f1': 0.7777777777777777, 'loss': 0.5}
    """

    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    losses: list[float] = field(default_factory=list)

    def add(self, truth: numpy.ndarray, predicted: numpy.ndarray, loss: float) -> None:
        """Count the rows of one batch: class numbers from 0, as arrays of one length, and the sum of their losses."""
        self.pairs.update(zip(truth.tolist(), predicted.tolist(), strict=True))
        self.losses.append(loss)

    def update(self, out: torch.Tensor, target: torch.Tensor, loss: float) -> None:
        """Count one batch by its logits ``(rows, classes)`` and class numbers ``(rows,)``."""
        self.add(target.cpu().numpy(), out.argmax(dim=1).cpu().numpy(), loss)

    def merge(self, other: Tally) -> None:
        """Count what another tally has counted."""
        self.pairs.update(other.pairs)
        self.losses += other.losses

    def compute(self) -> dict[str, float]:
        """Return ``accuracy``, ``macro_f1`` and mean ``loss`` of all rows so far; there must be some.

        Macro-F1 is the plain mean of the F1 of the classes that occur among the rows or the predictions, and F1 is
        ``2 tp / (rows of the class + predictions of it)``; see ``f1_score(average="macro")`` of scikit-learn.
        """
        rows, classes = self.pairs.total(), self.classes()
        return {
            "accuracy": sum(found.hits for found in classes.values()) / rows,
            "macro_f1": float(numpy.average([found.scores()["f1"] for found in classes.values()])),
            "loss": fsum(self.losses) / rows,
        }

    def classes(self) -> dict[int, ClassCounts]:
        """Return the counts of each class that occurs among the rows or the predictions, in their order."""
        found = {
            number: ClassCounts() for number in sorted({number for pair in self.pairs for number in pair})
        }
        for (true, predicted), count in self.pairs.items():
            found[true].true += count
            found[predicted].predicted += count
            found[true].hits += count if true == predicted else 0
        return found

    def report(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the scores of each class, and the rows of each true class by the class that was predicted."""
        confusion: dict[str, dict[str, int]] = {}
        for (true, predicted), count in sorted(self.pairs.items()):
            confusion.setdefault(labels[true], {})[labels[predicted]] = count
        named = {labels[number]: found for number, found in self.classes().items()}
        return {"classes": report_of(named, micro=False), "confusion": confusion}
