"""Scores a model on a split: loss by torch, accuracy and macro-F1 by scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from sklearn.metrics import accuracy_score, f1_score
from torch.nn.functional import cross_entropy

from freezeplan.train.encoding import in_chunks
from freezeplan.train.forward import EncodedSplit, Forward


def evaluate(
    forward: Forward, splits: Mapping[str, EncodedSplit], batch_size: int
) -> dict[str, dict[str, float]]:
    """Return ``accuracy``, ``macro_f1`` and mean ``loss`` of each task, in the order of ``splits``.

    The model runs in eval mode without gradients and is put back into the mode it was in. Macro-F1 is the
    plain mean over the classes that occur in the rows or in the predictions.
    """
    model = forward.model
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return {task: _scores(forward, task, split, batch_size) for task, split in splits.items()}
    finally:
        model.train(training)


def _scores(forward: Forward, task: str, split: EncodedSplit, batch_size: int) -> dict[str, float]:
    chunks = in_chunks(len(split), batch_size)
    logits = torch.cat([forward.logits(task, split, rows) for rows in chunks]).cpu()
    truth = torch.tensor(split.classes)
    predicted = logits.argmax(dim=1)
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_f1": float(f1_score(truth, predicted, average="macro", zero_division=0.0)),
        "loss": float(cross_entropy(logits, truth)),
    }
