"""One process, which has the model to itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from freezeplan.train.strategies.replicate import Replicate


@dataclass(frozen=True)
class Single(Replicate):
    """Train in one process: there is nobody to exchange anything with."""

    name: str = "single"

    def sum_gradients(self, tensors: Sequence[torch.nn.Parameter]) -> None:
        """Leave the gradients as they are."""
