"""Classification: one of several labels per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from freezeplan.tasks.kind import LOSS, Metric, Scorer, TaskKind

if TYPE_CHECKING:
    import numpy
    import torch

STOCK = {
    "text": "AutoModelForSequenceClassification",
    "text_pair": "AutoModelForSequenceClassification",
    "image": "AutoModelForImageClassification",
}


class Classification(TaskKind):
    """Learn which one of some labels a row has: a logit per label, cross-entropy."""

    name = "classification"
    fewest = 2
    metrics = (Metric("accuracy"), Metric("macro_f1"), LOSS)
    stock = STOCK
    problem_type = "single_label_classification"

    def role(self, columns: int) -> str:
        """Return that the one target column holds labels."""
        return "label"

    def named_by_columns(self, columns: Sequence[str]) -> tuple[str, ...] | None:
        """Return None: the labels stand in the data."""
        return None

    def declare(self, columns: Sequence[Any]) -> tuple[str, ...]:
        """Return the distinct labels, sorted as strings."""
        return columns[0].sorted_names

    def encode(self, columns: Sequence[Any], labels: Sequence[str], encoded: Any = None) -> numpy.ndarray:
        """Return each row's place in ``labels``, as 64-bit numbers ``(rows,)``."""
        return columns[0].numbered(labels)

    def blank(self, out: torch.Tensor) -> torch.Tensor:
        """Return the first class for each row."""
        import torch

        return torch.zeros(len(out), dtype=torch.int64)

    def losses(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return each row's cross-entropy."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(out, target, reduction="none")

    def scorer(self, labels: Sequence[str]) -> Scorer:
        """Return an empty count of classes."""
        from freezeplan.tasks.tally import Tally

        return Tally()

    def answers(
        self,
        out: torch.Tensor,
        labels: Sequence[str],
        *,
        probabilities: bool = False,
        words: numpy.ndarray | None = None,
        counts: Sequence[int] = (),
    ) -> list[dict[str, Any]]:
        """Return the label with the largest probability (softmax), which is its ``score``."""
        table = out.softmax(dim=1)
        found: list[dict[str, Any]] = []
        for scores, index in zip(table.tolist(), table.argmax(dim=1).tolist(), strict=True):
            answer: dict[str, Any] = {"label": labels[index], "score": scores[index]}
            if probabilities:
                answer["probabilities"] = dict(zip(labels, scores, strict=True))
            found.append(answer)
        return found
