"""Similarity: how alike two texts are, by the angle between their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from freezeplan.tasks.kind import PLAIN, VECTOR_FORMS, Answering
from freezeplan.tasks.regression import Regression

if TYPE_CHECKING:
    import numpy
    import torch


class Similarity(Regression):
    """Learn a score of two texts as the cosine of their vectors: squared errors, and no tensors of its own.

    ``most`` is the score of two texts that say the same; scores are divided by it.
    """

    name = "similarity"
    output = ""
    said = "cosine"
    texts = 2
    own_keys = frozenset({"max_score"})
    most_columns = 1
    stock: ClassVar[Mapping[str, str]] = {}
    without_stock = "its answer is the cosine of two vectors, and its head has no tensors"
    other_form = VECTOR_FORMS
    problem_type = None

    def __init__(self, most: float = 1.0) -> None:
        self.most = most

    def of(self, task: Any) -> Similarity:
        """Return the kind with a task's own highest score."""
        return Similarity(task.max_score or 1.0)

    def encode(self, columns: Sequence[Any], labels: Sequence[str], encoded: Any = None) -> numpy.ndarray:
        """Return the scores ``(rows, 1)`` in float32, divided by the highest."""
        import numpy

        return (columns[0].numbers[:, None] / self.most).astype(numpy.float32)

    def head(self, hidden: int, labels: Sequence[str], dropout: float) -> torch.nn.Module:
        """Return the cosine, which has nothing to learn."""
        from freezeplan.tasks.heads import CosineHead

        return CosineHead()

    def answers(
        self, out: torch.Tensor, labels: Sequence[str], form: Answering = PLAIN
    ) -> list[dict[str, Any]]:
        """Return the score as ``value``: the cosine times the highest score."""
        return [{"value": value * self.most} for value in out.flatten().tolist()]
