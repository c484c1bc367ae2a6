"""The one place where a batch runs through the model, in training and in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from freezeplan.train.encoding import Encoded, Encoder


@dataclass(frozen=True)
class EncodedSplit:
    """Hold one split of one task, ready for the model: encoded inputs and the class number of each row."""

    inputs: Encoded
    classes: Sequence[int]

    def __len__(self) -> int:
        return len(self.classes)

    def truth(self, rows: Sequence[int], device: torch.device) -> torch.Tensor:
        """Return the class numbers of some rows on a device."""
        return torch.tensor([self.classes[row] for row in rows], device=device)


@dataclass
class Forward:
    """Run rows of a split through a model that takes ``task=`` and a batch, and returns logits."""

    model: torch.nn.Module
    encoder: Encoder
    device: torch.device

    def logits(self, task: str, split: EncodedSplit, rows: Sequence[int]) -> torch.Tensor:
        """Return the logits ``(rows, labels)`` of a task for rows of a split, counted from 0, as float32."""
        batch = self.encoder.batch(split.inputs, rows, self.device)
        return self.model(task=task, **batch).float()
