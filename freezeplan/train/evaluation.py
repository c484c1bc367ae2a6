"""Scores a model on a split: mean loss, accuracy and macro-F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy
import torch
from torch.nn.functional import cross_entropy

from freezeplan.prefix.examples import in_chunks
from freezeplan.train.forward import EncodedSplit, Forward
from freezeplan.train.ranks import ALONE, Ranks
from freezeplan.train.scores import accuracy, macro_f1


def evaluate(
    forward: Forward, splits: Mapping[str, EncodedSplit], batch_size: int, ranks: Ranks = ALONE
) -> dict[str, dict[str, float]]:
    """Return ``accuracy``, ``macro_f1`` and mean ``loss`` of each task, in the order of ``splits``.

    The model runs in eval mode without gradients and is put back into the mode it was in. Macro-F1 is the
    plain mean over the classes that occur in the rows or in the predictions. The ranks share the batches; each
    of them scores what all have computed, so all return the same.
    """
    model = forward.model
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return {task: _scores(forward, task, split, batch_size, ranks) for task, split in splits.items()}
    finally:
        model.train(training)


def _scores(
    forward: Forward, task: str, split: EncodedSplit, batch_size: int, ranks: Ranks
) -> dict[str, float]:
    order = split.longest_first
    chunks = [order[rows.start : rows.stop] for rows in in_chunks(len(split), batch_size)]
    found = torch.cat(_logits(forward, task, split, chunks, ranks))
    logits = torch.empty_like(found)
    logits[torch.from_numpy(numpy.array(order, dtype=numpy.int64))] = found
    truth = torch.from_numpy(split.classes)
    classes, predicted = truth.numpy(), logits.argmax(dim=1).numpy()
    return {
        "accuracy": accuracy(classes, predicted),
        "macro_f1": macro_f1(classes, predicted),
        "loss": float(cross_entropy(logits, truth)),
    }


def _logits(
    forward: Forward, task: str, split: EncodedSplit, chunks: Sequence[Sequence[int]], ranks: Ranks
) -> list[torch.Tensor]:
    """Return the logits of every batch, in order; each rank runs every ``ranks.count``-th."""
    own = [forward.logits(task, split, rows).cpu() for rows in chunks[ranks.number :: ranks.count]]
    everyone = ranks.gather(own)
    return [everyone[place % ranks.count][place // ranks.count] for place in range(len(chunks))]
