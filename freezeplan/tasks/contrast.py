"""The loss of telling a positive from all else in a batch."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, normalize


def contrasts(vectors: torch.Tensor, texts: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the cross-entropy of choosing each row's positive among the positives and negatives of all rows.

    ``vectors`` are ``(rows, 2 or 3, hidden)``: anchors, positives, negatives; ``texts`` number their texts. Scores are
    cosines divided by ``temperature``. A candidate is left out where it is the anchor's own text, or the text of a
    positive that the same anchor has: it would be taught to be far from what it is. Where no text stands twice in
    the batch, this is ``MultipleNegativesRankingLoss`` of sentence-transformers with ``scale = 1 / temperature``.

    >>> vectors = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> contrasts(vectors, torch.tensor([[0, 1], [2, 3]]), temperature=1.0)
    tensor([0.3133, 0.3133])
    >>> contrasts(vectors, torch.tensor([[0, 1], [2, 1]]), temperature=1.0).abs()
    tensor([0., 0.])
    """
    anchors = normalize(vectors[:, 0], dim=-1)
    candidates = normalize(vectors[:, 1:].transpose(0, 1).flatten(0, 1), dim=-1)
    scores = anchors @ candidates.T / temperature
    own = torch.arange(len(vectors), device=vectors.device)
    return cross_entropy(scores.masked_fill(_no_negatives(texts), -torch.inf), own, reduction="none")


def _no_negatives(texts: torch.Tensor) -> torch.Tensor:
    """Return which candidate ``(rows, candidates)`` is no negative of a row, its own positive aside."""
    anchors, candidates = texts[:, 0], texts[:, 1:].T.flatten()
    same_anchor = anchors[:, None] == anchors[None, :]
    same_text = texts[:, 1][:, None] == candidates[None, :]
    known = (same_anchor.float() @ same_text.float() > 0) | (anchors[:, None] == candidates[None, :])
    known.fill_diagonal_(False)
    return known
