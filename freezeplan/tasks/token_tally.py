"""Scores of a language model that grow batch by batch: perplexity, accuracy and mean loss of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, fsum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LARGEST = 700.0
"""The largest loss whose perplexity is a number of 64 bits."""


@dataclass
class TokenTally:
    """Hold how many tokens there were, how many of them were told right, and one sum of losses per batch.

    >>> tally = TokenTally(tokens=4, right=3, losses=[2.0])
    >>> {name: round(value, 4) for name, value in tally.compute().items()}
    {'perplexity': 1.6487, 'accuracy': 0.75, 'loss': 0.5}
    """

    tokens: int = 0
    right: int = 0
    losses: list[float] = field(default_factory=list)

    def update(self, out: Any, target: torch.Tensor, loss: float) -> None:
        """Count one batch by its logits and its targets ``(targets, 2)``."""
        from freezeplan.tasks.causal_lm import token_logits

        _, hits = token_logits(out).scored(target)
        self.tokens += len(target)
        self.right += int(hits.sum())
        self.losses.append(loss)

    def merge(self, other: TokenTally) -> None:
        """Count what another tally has counted."""
        self.tokens, self.right = self.tokens + other.tokens, self.right + other.right
        self.losses += other.losses

    def compute(self) -> dict[str, float]:
        """Return ``perplexity``, which is e to the mean loss, ``accuracy`` and mean ``loss`` of all tokens so far."""
        tokens = max(self.tokens, 1)
        loss = fsum(self.losses) / tokens
        return {
            "perplexity": exp(min(loss, LARGEST)) if loss == loss else loss,
            "accuracy": self.right / tokens,
            "loss": loss,
        }
