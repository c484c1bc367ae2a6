"""Scores a model on a split: the metrics of each task's kind, the mean loss among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from freezeplan.prefix.examples import in_chunks, rows_at_once
from freezeplan.tasks import Scorer, merged
from freezeplan.train.forward import EncodedSplit, Forward, in_eval_mode
from freezeplan.train.ranks import ALONE, Ranks

Seen = Callable[[str, Sequence[int], torch.Tensor, torch.Tensor], None]
"""What is told of a batch: its task, its rows, what the head put out, and the targets."""


def evaluate(
    forward: Forward,
    splits: Mapping[str, EncodedSplit],
    batch_size: int,
    ranks: Ranks = ALONE,
    told: Callable[[str, int], None] = lambda task, rows: None,
) -> dict[str, dict[str, float]]:
    """Return the metrics of each task, in the order of ``splits``; see :func:`count`."""
    counted = count(forward, splits, batch_size, ranks, told)
    return {task: scorer.compute() for task, scorer in counted.items()}


def count(
    forward: Forward,
    splits: Mapping[str, EncodedSplit],
    batch_size: int,
    ranks: Ranks = ALONE,
    told: Callable[[str, int], None] = lambda task, rows: None,
    seen: Seen | None = None,
) -> dict[str, Scorer]:
    """Return what the scorer of each task has counted, in the order of ``splits``.

    The model runs in eval mode without gradients and is put back into the mode it was in. Only what a kind's
    scorer counts is kept of a batch, ``batch_size`` rows at most. The ranks share the batches; all return the same
    counts, those of one process. Where they run the model together, one that has no batch left runs one for
    nothing. ``told`` is called with the task and its rows so far after each batch of this rank, ``seen`` with each
    batch itself.
    """
    with in_eval_mode(forward.model), torch.no_grad():
        return {
            task: _counted(forward, task, split, batch_size, ranks, partial(told, task), seen)
            for task, split in splits.items()
        }


def in_full(splits: Mapping[str, EncodedSplit], counted: Mapping[str, Scorer]) -> dict[str, dict[str, Any]]:
    """Return, in plain JSON types, the ``metrics`` of each task, and what its kind reports besides."""
    return {
        task: {
            "rows": len(splits[task]),
            "metrics": scorer.compute(),
            **splits[task].kind.report(scorer, splits[task].labels),
        }
        for task, scorer in counted.items()
    }


def _counted(
    forward: Forward,
    task: str,
    split: EncodedSplit,
    batch_size: int,
    ranks: Ranks,
    told: Callable[[int], None],
    seen: Seen | None,
) -> Scorer:
    order, scorer = split.longest_first, split.kind.scorer(split.labels)
    chunks = list(in_chunks(len(split), rows_at_once(forward.device.type, batch_size)))
    for rows in chunks[ranks.number :: ranks.count]:
        _add(scorer, forward, task, split, order[rows.start : rows.stop], seen)
        told(rows.stop)
    if ranks.together and 0 < len(chunks) % ranks.count <= ranks.number:
        forward.outputs(task, split, order[:1])
    return merged(ranks.gather(scorer))


def _add(
    scorer: Scorer,
    forward: Forward,
    task: str,
    split: EncodedSplit,
    rows: Sequence[int],
    seen: Seen | None,
) -> None:
    """Count one batch."""
    out, target = forward.outputs(task, split, rows), split.target(rows, forward.device)
    scorer.update(out, target, float(split.kind.losses(out, target).double().sum()))
    if seen is not None:
        seen(task, rows, out, target)
