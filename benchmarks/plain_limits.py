"""What the store can reach at best, written without it: a BERT cut in two by hand.

The lower half is a BERT that has only the lower layers; the upper half one whose embeddings give back the hidden
states that it is handed. Nothing here knows of the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from benchmarks.minilm import TASK
from freezeplan.train.setup import Setup

Batch = Mapping[str, torch.Tensor]


class Given(torch.nn.Module):
    """Stand for a model's embeddings: give back what is handed in."""

    def forward(self, inputs_embeds: torch.Tensor, **rest: Any) -> torch.Tensor:
        """Return the hidden states as they are."""
        return inputs_embeds


def lower_half(model: torch.nn.Module, layers: int) -> torch.nn.Module:
    """Return a copy of the backbone that has only the lowest layers, in eval mode."""
    lower = deepcopy(model.backbone).eval()
    lower.encoder.layer = lower.encoder.layer[:layers]
    lower.pooler = None
    return lower


def upper_half(model: torch.nn.Module, layers: int) -> torch.nn.Module:
    """Return a copy of the whole model without embeddings and lowest layers; it takes ``inputs_embeds``."""
    upper = deepcopy(model)
    upper.backbone.encoder.layer = upper.backbone.encoder.layer[layers:]
    upper.backbone.embeddings = Given()
    return upper


@dataclass
class Steps:
    """Take training steps of a model as a plain loop does."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.trained = [tensor for tensor in self.model.parameters() if tensor.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=2e-5, fused=True)

    def take(self, batch: Mapping[str, Any], truth: torch.Tensor) -> None:
        """Train on one batch: loss, gradients, their norm, AdamW."""
        self.optimizer.zero_grad(set_to_none=True)
        cross_entropy(self.model(task=TASK, **batch).float(), truth).backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()


@torch.no_grad()
def run_lower(lower: torch.nn.Module, batches: Sequence[Batch]) -> list[torch.Tensor]:
    """Return the hidden states of batches."""
    return [lower(**batch).last_hidden_state for batch in batches]


@torch.no_grad()
def run_whole(model: torch.nn.Module, batches: Sequence[Batch]) -> list[torch.Tensor]:
    """Return the pooled vectors of batches."""
    return [model.pool(**batch) for batch in batches]


def batches_of(setup: Setup, rows: Sequence[Sequence[int]]) -> list[dict[str, torch.Tensor]]:
    """Return batches of the training rows as the model's inputs."""
    inputs = setup.data["train"][TASK].inputs
    return [setup.encoder.batch(inputs, chosen, setup.device) for chosen in rows]
