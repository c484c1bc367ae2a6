"""A stack of blocks small enough to read, and ways in which a model can defy a store."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from freezeplan.inventory.records import Stack
from freezeplan.models.multitask import MultiTaskModel

DEPTH, HIDDEN, VOCABULARY = 4, 8, 50


class Block(nn.Module):
    """Mix the real tokens a little and transform each, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(HIDDEN, HIDDEN)
        self.dropout = nn.Dropout(0.2)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> Any:
        """Return the next hidden states."""
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        context = (hidden * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
        return hidden + self.dropout(torch.tanh(self.linear(hidden + context)))


class Backbone(nn.Module):
    """Embed tokens, drop some, and run the blocks in a loop that subclasses bend."""

    def __init__(self, block: type[nn.Module] = Block, depth: int = DEPTH) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, HIDDEN)
        self.layers = nn.ModuleList(block() for _ in range(depth))
        self.norm = nn.LayerNorm(HIDDEN)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the last hidden states."""
        hidden = nn.functional.dropout(self.embedding(input_ids), 0.2, self.training)
        return self.norm(self.through(hidden, attention_mask, input_ids))

    def through(self, hidden: torch.Tensor, mask: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Run the blocks one after another."""
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden


def toy(backbone: nn.Module | None = None, frozen: int = 2, seed: int = 0) -> MultiTaskModel:
    """Return a toy with two heads whose embedding and first blocks are frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MultiTaskModel(backbone or Backbone(), HIDDEN, {"topic": (3, 0.1), "mood": (2, 0.1)})
        for parameter in model.parameters():
            parameter.data.normal_(0.0, 0.5)
    return freeze_below(model, frozen)


def freeze_below(model: MultiTaskModel, blocks: int) -> MultiTaskModel:
    """Freeze the embedding and the first blocks of a toy, and train the rest."""
    frozen = ("backbone.embedding.", *(f"backbone.layers.{place}." for place in range(blocks)))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    return model.train()


def stack_of(model: MultiTaskModel, **more: Any) -> tuple[Stack, ...]:
    """Return the one stack of a toy."""
    paths = tuple(f"backbone.layers.{place}" for place in range(len(model.backbone.layers)))
    return (Stack("backbone.layers", paths, **more),)
