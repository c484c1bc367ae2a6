"""The heads of the project's own."""

from __future__ import annotations

import torch
from torch import nn


class LinearHead(nn.Module):
    """Map a pooled vector of ``hidden`` numbers to one number per output, through dropout."""

    def __init__(self, hidden: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden, outputs)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return outputs of shape ``(batch, outputs)`` for ``pooled`` of shape ``(batch, hidden)``."""
        return self.linear(self.dropout(pooled))
