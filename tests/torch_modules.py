"""Real torch modules for abstract trees: every module maps (batch, 4) to (batch, 4)."""

from __future__ import annotations

import torch
from torch import nn

from tests.strategies import WIDTH, Made


class Block(nn.Module):
    """Scale by parameters of its own, then run its children in order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for parameter in self._parameters.values():
            x = x * parameter
        for child in self.children():
            x = child(x)
        return x


class Chain(nn.ModuleList):
    """A list of modules that can be called: its items run in order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for item in self:
            x = item(x)
        return x


def build(tree: Made) -> nn.Module:
    """Build one abstract module and all below it."""
    if tree.kind == "Linear":
        return nn.Linear(WIDTH, WIDTH)
    if tree.kind in ("LayerNorm", "BatchNorm1d"):
        return getattr(nn, tree.kind)(WIDTH)
    if tree.kind in ("Dropout", "ReLU"):
        return getattr(nn, tree.kind)()
    if tree.kind == "ModuleList":
        return Chain(build(child) for _, child in tree.children)
    block = Block()
    for name in tree.own:
        block.register_parameter(name, nn.Parameter(torch.ones(WIDTH)))
    for name, child in tree.children:
        block.add_module(name, build(child))
    return block
