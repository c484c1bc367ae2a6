"""Precision, recall and F1 of each class, label or type, and their means, all from counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum
from typing import Any

MEASURES = ("precision", "recall", "f1")


@dataclass
class ClassCounts:
    """Count of one class what is true and was predicted (``hits``), what is true, and what was predicted."""

    hits: int = 0
    true: int = 0
    predicted: int = 0

    def add(self, other: ClassCounts) -> None:
        """Count what another has counted."""
        self.hits += other.hits
        self.true += other.true
        self.predicted += other.predicted

    def scores(self) -> dict[str, float]:
        """Return precision, recall and F1, 0 where nothing can be divided by, and how many are true.

        >>> ClassCounts(hits=1, true=2, predicted=4).scores()
        {'precision': 0.25, 'recall': 0.5, 'f1': 0.3333333333333333, 'support': 2}
        """
        return {
            "precision": self.hits / max(self.predicted, 1),
            "recall": self.hits / max(self.true, 1),
            "f1": 2.0 * self.hits / max(self.true + self.predicted, 1),
            "support": self.true,
        }


def report_of(classes: Mapping[str, ClassCounts], *, micro: bool) -> dict[str, Any]:
    """Return the scores of ``each`` class, and their ``averages``: micro (asked for), macro and weighted.

    Micro counts all classes together, macro is the plain mean over the classes, weighted the mean by what is true of
    each; see ``classification_report`` of scikit-learn. Without classes all are 0.
    """
    each = {name: found.scores() for name, found in classes.items()}
    whole = ClassCounts()
    for found in classes.values():
        whole.add(found)
    averages = {"micro": whole.scores()} if micro else {}
    averages["macro"] = _mean(each, dict.fromkeys(each, 1), whole.true)
    averages["weighted"] = _mean(each, {name: found.true for name, found in classes.items()}, whole.true)
    return {"each": each, "averages": averages}


def _mean(
    each: Mapping[str, Mapping[str, float]], weights: Mapping[str, int], support: int
) -> dict[str, float]:
    total = max(sum(weights.values()), 1)
    means = {
        key: fsum(scores[key] * weights[name] for name, scores in each.items()) / total for key in MEASURES
    }
    return {**means, "support": support}
