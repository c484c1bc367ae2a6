"""The heads of the project's own."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cosine_similarity, normalize


class LinearHead(nn.Module):
    """Map a pooled vector of ``hidden`` numbers to one number per output, through dropout."""

    def __init__(self, hidden: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden, outputs)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return outputs of shape ``(batch, outputs)`` for ``pooled`` of shape ``(batch, hidden)``."""
        return self.linear(self.dropout(pooled))


class CosineHead(nn.Module):
    """Compare vectors: those of all first texts, then those of all second texts."""

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return cosines ``(rows, 1)`` for ``pooled`` of shape ``(2 x rows, hidden)``."""
        half = len(pooled) // 2
        return cosine_similarity(pooled[:half], pooled[half : 2 * half], dim=-1).unsqueeze(1)


class ComparisonHead(nn.Module):
    """Weigh what two vectors have in common: those of all first texts, then those of all second texts.

    Of vectors ``u`` and ``v`` of length 1 it reads ``u * v`` and ``|u - v|``, which do not depend on which text comes
    first. It begins as their cosine: each product has weight 1, each distance 0.

    Sources: Conneau et al., Supervised Learning of Universal Sentence Representations from Natural Language Inference
    Data, 2017, https://arxiv.org/abs/1705.02364; Reimers and Gurevych, Sentence-BERT, 2019,
    https://arxiv.org/abs/1908.10084.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * hidden, 1)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return scores ``(rows, 1)`` for ``pooled`` of shape ``(2 x rows, hidden)``."""
        # In full, as a cosine is: products are small, and a score is a sum of many.
        with torch.autocast(pooled.device.type, enabled=False):
            units = normalize(pooled.to(self.linear.weight.dtype), dim=-1)
            one, other = units.unflatten(0, (2, -1))
            return self.linear(torch.cat([one * other, (one - other).abs()], dim=-1))

    def draw_(self, seed: int) -> None:
        """Set the weights to those of the cosine, whatever the seed."""
        with torch.no_grad():
            products, distances = self.linear.weight.chunk(2, dim=1)
            products.fill_(1.0)
            distances.zero_()
            self.linear.bias.zero_()


class VectorHead(nn.Module):
    """Hand on the vectors as they are."""

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return ``pooled``."""
        return pooled
