"""Scores a model on a split: loss by torch, accuracy and macro-F1 by scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from sklearn.metrics import accuracy_score, f1_score
from torch.nn.functional import cross_entropy

from freezeplan.train.encoding import Encoded, Encoder, in_chunks


@dataclass(frozen=True)
class EncodedSplit:
    """Hold one split of one task, ready for the model: encoded inputs and the class number of each row."""

    inputs: Encoded
    classes: Sequence[int]

    def __len__(self) -> int:
        return len(self.classes)


def evaluate(
    model: torch.nn.Module,
    encoder: Encoder,
    splits: Mapping[str, EncodedSplit],
    batch_size: int,
    device: torch.device,
) -> dict[str, dict[str, float]]:
    """Return ``accuracy``, ``macro_f1`` and mean ``loss`` of each task, in the order of ``splits``.

    The model runs in eval mode without gradients and is put back into the mode it was in. Macro-F1 is the
    plain mean over the classes that occur in the rows or in the predictions.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return {
                task: _scores(model, encoder, task, split, batch_size, device)
                for task, split in splits.items()
            }
    finally:
        model.train(training)


def _scores(
    model: torch.nn.Module,
    encoder: Encoder,
    task: str,
    split: EncodedSplit,
    batch_size: int,
    device: torch.device,
) -> dict[str, float]:
    logits = torch.cat(
        [
            model(task=task, **encoder.batch(split.inputs, rows, device)).float()
            for rows in in_chunks(len(split), batch_size)
        ]
    ).cpu()
    truth = torch.tensor(split.classes)
    predicted = logits.argmax(dim=1)
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_f1": float(f1_score(truth, predicted, average="macro", zero_division=0.0)),
        "loss": float(cross_entropy(logits, truth)),
    }
