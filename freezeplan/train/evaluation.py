"""Scores a model on a split: mean loss, accuracy and macro-F1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch.nn.functional import cross_entropy

from freezeplan.prefix.examples import in_chunks, rows_at_once
from freezeplan.train.forward import EncodedSplit, Forward
from freezeplan.train.ranks import ALONE, Ranks
from freezeplan.train.scores import Tally, merged


def evaluate(
    forward: Forward,
    splits: Mapping[str, EncodedSplit],
    batch_size: int,
    ranks: Ranks = ALONE,
    told: Callable[[str, int], None] = lambda task, rows: None,
) -> dict[str, dict[str, float]]:
    """Return ``accuracy``, ``macro_f1`` and mean ``loss`` of each task, in the order of ``splits``.

    The model runs in eval mode without gradients and is put back into the mode it was in. Macro-F1 is the
    plain mean over the classes that occur in the rows or in the predictions. Only counts and sums of losses are
    kept of a batch, ``batch_size`` rows at most. The ranks share the batches; all return the same scores, to the
    bit those of one process. ``told`` is called with the task and its rows so far after each batch of this rank.
    """
    model = forward.model
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return {
                task: _scores(forward, task, split, batch_size, ranks, partial(told, task))
                for task, split in splits.items()
            }
    finally:
        model.train(training)


def _scores(
    forward: Forward,
    task: str,
    split: EncodedSplit,
    batch_size: int,
    ranks: Ranks,
    told: Callable[[int], None],
) -> dict[str, float]:
    order, tally = split.longest_first, Tally()
    chunks = list(in_chunks(len(split), rows_at_once(forward.device.type, batch_size)))
    for rows in chunks[ranks.number :: ranks.count]:
        _add(tally, forward, task, split, order[rows.start : rows.stop])
        told(rows.stop)
    return merged(ranks.gather(tally)).scores()


def _add(tally: Tally, forward: Forward, task: str, split: EncodedSplit, rows: Sequence[int]) -> None:
    """Count one batch."""
    logits, truth = forward.logits(task, split, rows), split.truth(rows, forward.device)
    loss = cross_entropy(logits, truth, reduction="none").double().sum()
    tally.add(truth.cpu().numpy(), logits.argmax(dim=1).cpu().numpy(), float(loss))
