"""Multi-label classification: any number of labels per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from freezeplan.tasks.classification import STOCK
from freezeplan.tasks.kind import LOSS, PLAIN, Answering, Metric, Scorer, TaskKind

if TYPE_CHECKING:
    import numpy
    import torch


class MultiLabel(TaskKind):
    """Learn of each label whether a row has it: a logit per label, binary cross-entropy."""

    name = "multi_label"
    most_columns = None
    metrics = (Metric("micro_f1"), Metric("macro_f1"), LOSS)
    stock = STOCK
    problem_type = "multi_label_classification"

    def role(self, columns: int) -> str:
        """Return that one column holds lists of labels, several a 0 or a 1 for a label each."""
        return "labels" if columns == 1 else "flag"

    def named_by_columns(self, columns: Sequence[str]) -> tuple[str, ...] | None:
        """Return the names of several columns; those of a single one stand in its lists."""
        return tuple(columns) if len(columns) > 1 else None

    def encode(self, columns: Sequence[Any], labels: Sequence[str], encoded: Any = None) -> numpy.ndarray:
        """Return whether each row has each label, ``(rows, labels)``, as numbers of one byte."""
        import numpy

        if len(columns) == 1:
            return columns[0].present(labels)
        return numpy.stack([column.flags for column in columns], axis=1)

    def terms(self, targets: numpy.ndarray, rows: Sequence[int]) -> int:
        """Return one term per row and label."""
        return len(rows) * targets.shape[1]

    def collate(self, targets: numpy.ndarray, rows: Sequence[int], device: torch.device) -> torch.Tensor:
        """Return the targets of some rows, ``(rows, labels)``, in float32."""
        return super().collate(targets, rows, device).float()

    def losses(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the binary cross-entropy of each row and label."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(out, target, reduction="none")

    def scorer(self, labels: Sequence[str]) -> Scorer:
        """Return an empty count of labels."""
        from freezeplan.tasks.label_tally import LabelTally

        return LabelTally()

    def answers(
        self, out: torch.Tensor, labels: Sequence[str], form: Answering = PLAIN
    ) -> list[dict[str, Any]]:
        """Return the ``labels`` with a probability (sigmoid) above one half, and these as ``scores``."""
        found: list[dict[str, Any]] = []
        for row in out.sigmoid().tolist():
            chosen = [place for place, score in enumerate(row) if score > 0.5]
            answer: dict[str, Any] = {
                "labels": [labels[place] for place in chosen],
                "scores": [row[place] for place in chosen],
            }
            if form.probabilities:
                answer["probabilities"] = dict(zip(labels, row, strict=True))
            found.append(answer)
        return found
