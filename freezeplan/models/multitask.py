"""The model of a spec with tasks: one backbone and one classification head per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class ClassificationHead(nn.Module):
    """Map a pooled vector of ``hidden`` numbers to one logit per label, through dropout."""

    def __init__(self, hidden: int, labels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden, labels)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return logits of shape ``(batch, labels)`` for ``pooled`` of shape ``(batch, hidden)``."""
        return self.linear(self.dropout(pooled))


class MultiTaskModel(nn.Module):
    """Route a batch through one backbone, a pooling, and the head of its task.

    ``backbone`` is any module whose output has ``last_hidden_state`` (or is a tensor or a tuple that starts
    with it); ``heads`` maps task names to ``(number of labels, dropout)``; ``hidden`` is the size of the
    backbone's output; ``pooling`` is ``mean`` (over real tokens), ``cls`` (first token) or ``last`` (last real
    token). Outputs that are a map (channels, height, width) are averaged over space whatever it says.

    >>> model = MultiTaskModel(nn.Embedding(10, 4), 4, {"topic": (3, 0.0)})
    >>> model(task="topic", input=torch.tensor([[1, 2]])).shape
    torch.Size([1, 3])
    """

    # What structure discovery asks of a model: the base, then the heads.
    freezeplan_parts = ("backbone", "heads")

    def __init__(
        self, backbone: nn.Module, hidden: int, heads: Mapping[str, tuple[int, float]], pooling: str = "mean"
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict(
            {name: ClassificationHead(hidden, labels, dropout) for name, (labels, dropout) in heads.items()}
        )
        self.hidden = hidden
        self.pooling = pooling

    def forward(
        self, task: str | None = None, pooled: torch.Tensor | None = None, **inputs: Any
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """Return the logits ``(batch, labels)`` of ``task``; without a task, a dict of every task's logits.

        ``pooled`` of shape ``(batch, hidden)`` stands in for the backbone, which then does not run.
        """
        pooled = self.pool(**inputs) if pooled is None else pooled
        if task is not None:
            return self.logits(task, pooled)
        return {name: self.logits(name, pooled) for name in self.heads}

    def pool(self, **inputs: Any) -> torch.Tensor:
        """Run the backbone and return one vector per example, ``(batch, hidden)``."""
        output = self._trunk()(**inputs)
        states = getattr(output, "last_hidden_state", None)
        if states is None:
            states = output if isinstance(output, torch.Tensor) else output[0]
        if states.dim() == 4:
            return self._over_space(states)
        return self._over_tokens(states, inputs.get("attention_mask")) if states.dim() == 3 else states

    def logits(self, task: str, pooled: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(batch, labels)`` of one task for pooled vectors ``(batch, hidden)``."""
        return self.heads[task](pooled)

    def _trunk(self) -> nn.Module:
        """Return the part of the backbone that reads the input: of an encoder-decoder, its encoder."""
        if getattr(getattr(self.backbone, "config", None), "is_encoder_decoder", False):
            return self.backbone.get_encoder()
        return self.backbone

    def _over_tokens(self, states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        if mask is None or mask.shape != states.shape[:2]:
            return states[:, -1] if self.pooling == "last" else states.mean(dim=1)
        if self.pooling == "last":
            last = (torch.arange(mask.shape[1], device=mask.device) * mask).argmax(dim=1)
            return states[torch.arange(len(states), device=states.device), last]
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)

    def _over_space(self, states: torch.Tensor) -> torch.Tensor:
        channels_first = states.shape[1] == self.hidden
        return states.mean(dim=(2, 3) if channels_first else (1, 2))
