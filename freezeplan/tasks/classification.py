"""Classification: one of several labels per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from freezeplan.tasks.kind import LOSS, PLAIN, Answering, Metric, Scorer, TaskKind

if TYPE_CHECKING:
    import numpy
    import torch

STOCK = {
    "text": "AutoModelForSequenceClassification",
    "text_pair": "AutoModelForSequenceClassification",
    "image": "AutoModelForImageClassification",
}


class Classification(TaskKind):
    """Learn which one of some labels a row has: a logit per label, cross-entropy.

    ``smoothing`` is spread over all labels, ``weights`` are factors of losses by label (Szegedy et al., Rethinking the
    Inception Architecture for Computer Vision, 2016, https://arxiv.org/abs/1512.00567, section 7).
    """

    name = "classification"
    fewest = 2
    own_keys = frozenset({"label_smoothing", "class_weights", "scale"})
    metrics = (Metric("accuracy"), Metric("macro_f1"), LOSS)
    stock = STOCK
    problem_type = "single_label_classification"

    def __init__(
        self, smoothing: float = 0.0, weights: Mapping[str, float] | None = None, labels: Sequence[str] = ()
    ) -> None:
        self.smoothing = smoothing
        self.weights = dict(weights or {})
        self.factors = [self.weights.get(label, 1.0) for label in labels] if self.weights else []

    def of(self, task: Any) -> Classification:
        """Return the kind with a task's own smoothing and weights."""
        return Classification(task.label_smoothing, task.class_weights)

    def over(self, labels: Sequence[str]) -> Classification:
        """Return the kind with its weights in the order of the labels."""
        return Classification(self.smoothing, self.weights, labels)

    def role(self, columns: int) -> str:
        """Return that the one target column holds labels."""
        return "label"

    def encode(self, columns: Sequence[Any], labels: Sequence[str], encoded: Any = None) -> numpy.ndarray:
        """Return each row's place in ``labels``, as 64-bit numbers ``(rows,)``."""
        return columns[0].numbered(labels)

    def blank(self, out: torch.Tensor) -> torch.Tensor:
        """Return the first class for each row."""
        import torch

        return torch.zeros(len(out), dtype=torch.int64)

    def losses(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return each row's cross-entropy, smoothed, times the weight of its label."""
        from torch.nn.functional import cross_entropy

        found = cross_entropy(out, target, reduction="none", label_smoothing=self.smoothing)
        return found * out.new_tensor(self.factors)[target] if self.factors else found

    def scorer(self, labels: Sequence[str]) -> Scorer:
        """Return an empty count of classes."""
        from freezeplan.tasks.tally import Tally

        return Tally()

    def answers(
        self, out: torch.Tensor, labels: Sequence[str], form: Answering = PLAIN
    ) -> list[dict[str, Any]]:
        """Return the label with the largest probability (softmax), which is its ``score``."""
        table = out.softmax(dim=1)
        found: list[dict[str, Any]] = []
        for scores, index in zip(table.tolist(), table.argmax(dim=1).tolist(), strict=True):
            answer: dict[str, Any] = {"label": labels[index], "score": scores[index]}
            if form.probabilities:
                answer["probabilities"] = dict(zip(labels, scores, strict=True))
            found.append(answer)
        return found
