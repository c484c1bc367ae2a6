"""The heads of the project's own."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cosine_similarity


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


class VectorHead(nn.Module):
    """Hand on the vectors as they are."""

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return ``pooled``."""
        return pooled
