"""Similarity: how alike two texts are, by the angle between their vectors or a trained comparison of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from freezeplan.tasks.kind import COMPARE, PLAIN, VECTOR_FORMS, Answering
from freezeplan.tasks.regression import Regression

if TYPE_CHECKING:
    import numpy
    import torch


class Similarity(Regression):
    """Learn a score of two texts by squared errors: the cosine of their vectors, or a ``trained`` comparison of them.

    The cosine has no tensors of its own. ``most`` is the score of two texts that say the same; scores are divided by
    it.
    """

    name = "similarity"
    output = ""
    said = "cosine"
    texts = 2
    own_keys = frozenset({"max_score"})
    most_columns = 1
    trained_head = COMPARE
    stock: ClassVar[Mapping[str, str]] = {}
    without_stock = "its answer is the cosine of two vectors, and its head has no tensors"
    other_form = VECTOR_FORMS
    problem_type = None

    def __init__(self, most: float = 1.0, trained: bool = False) -> None:
        self.most, self.trained = most, trained
        if trained:
            self.without_stock = "its head reads the vectors of two texts"
            self.other_form = "use `--to onnx`, or `freezeplan.load_run` in Python"

    @property
    def from_vectors(self) -> bool:
        """Whether its answers follow from vectors of single texts alone: where nothing is trained on two of them."""
        return not self.trained

    def of(self, task: Any) -> Similarity:
        """Return the kind with a task's own highest score, and its head."""
        return Similarity(task.max_score or 1.0, task.head == COMPARE)

    def encode(self, columns: Sequence[Any], labels: Sequence[str], encoded: Any = None) -> numpy.ndarray:
        """Return the scores ``(rows, 1)`` in float32, divided by the highest."""
        import numpy

        return (columns[0].numbers[:, None] / self.most).astype(numpy.float32)

    def head(self, hidden: int, labels: Sequence[str], dropout: float) -> torch.nn.Module:
        """Return the cosine, which has nothing to learn, or what begins as it and learns."""
        from freezeplan.tasks.heads import ComparisonHead, CosineHead

        return ComparisonHead(hidden) if self.trained else CosineHead()

    def answers(
        self, out: torch.Tensor, labels: Sequence[str], form: Answering = PLAIN
    ) -> list[dict[str, Any]]:
        """Return the score as ``value``: what the head gives, times the highest score."""
        return [{"value": value * self.most} for value in out.flatten().tolist()]
