"""Regression: one or several numbers per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from freezeplan.tasks.classification import STOCK
from freezeplan.tasks.kind import LOSS, PLAIN, Answering, Metric, Scorer, TaskKind

if TYPE_CHECKING:
    import numpy
    import torch


class Regression(TaskKind):
    """Learn numbers, one per target column: an output for each, squared errors."""

    name = "regression"
    output = "number"
    takes_labels = False
    most_columns = None
    metrics = (Metric("pearson"), Metric("spearman"), LOSS)
    stock = STOCK
    problem_type = "regression"

    def role(self, columns: int) -> str:
        """Return that each target column holds numbers."""
        return "number"

    def named_by_columns(self, columns: Sequence[str]) -> tuple[str, ...] | None:
        """Return the columns' names."""
        return tuple(columns)

    def declare(self, columns: Sequence[Any]) -> tuple[str, ...]:
        """Return nothing: the columns' names tell."""
        return ()

    def encode(self, columns: Sequence[Any], labels: Sequence[str], encoded: Any = None) -> numpy.ndarray:
        """Return the numbers ``(rows, columns)`` in float32."""
        import numpy

        return numpy.stack([column.numbers for column in columns], axis=1).astype(numpy.float32)

    def terms(self, targets: numpy.ndarray, rows: Sequence[int]) -> int:
        """Return one term per number."""
        return len(rows) * targets.shape[1]

    def losses(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return each number's squared error."""
        return (out - target).square()

    def scorer(self, labels: Sequence[str]) -> Scorer:
        """Return an empty record of numbers."""
        from freezeplan.tasks.correlation import Correlation

        return Correlation()

    def answers(
        self, out: torch.Tensor, labels: Sequence[str], form: Answering = PLAIN
    ) -> list[dict[str, Any]]:
        """Return the number as ``value``; of several, ``values`` maps the columns' names to theirs."""
        rows = out.tolist()
        if len(labels) == 1:
            return [{"value": row[0]} for row in rows]
        return [{"values": dict(zip(labels, row, strict=True))} for row in rows]
