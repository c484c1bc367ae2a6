"""Gradients of float16: scaled up so that small ones do not vanish, and steps left out where large ones overflow."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class LossScale:
    """Scale losses by a factor that grows until gradients overflow, and leave out the steps in which they do.

    Only ``fp16`` needs it; with every other precision the factor is 1 and no step is left out. Torch's ``GradScaler``
    keeps the factor (Micikevicius et al., Mixed Precision Training, 2018, https://arxiv.org/abs/1710.03740).
    """

    def __init__(self, precision: str, device: torch.device) -> None:
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")

    def backward(self, loss: torch.Tensor) -> None:
        """Add a scaled loss's gradients to those of the step."""
        self.scaler.scale(loss).backward()

    def unscaled(self, optimizer: torch.optim.Optimizer, trained: Sequence[torch.nn.Parameter]) -> bool:
        """Bring a step's gradients back to their size; returns whether all are finite, as a step needs them."""
        if not self.scaler.is_enabled():
            return True
        self.scaler.unscale_(optimizer)
        found = [tensor.grad.isfinite().all() for tensor in trained if tensor.grad is not None]
        return not found or bool(torch.stack(found).all())

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take a step, unless its gradients overflowed, and set the factor of the next one."""
        self.scaler.step(optimizer)
        self.scaler.update()

    def as_record(self) -> dict[str, float]:
        """Return the factor and what it depends on, in plain numbers; nothing where there is no factor."""
        return self.scaler.state_dict()

    def go_on(self, record: dict[str, float]) -> None:
        """Take up the factor that :meth:`as_record` told."""
        if record:
            self.scaler.load_state_dict(record)
