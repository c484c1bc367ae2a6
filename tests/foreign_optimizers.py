"""Stand-ins for optimizers from elsewhere: of the same shape, and small."""

from __future__ import annotations

from typing import Any

import torch


class Counting(torch.optim.Optimizer):
    """Adam with its step counter in the group, in a tensor, as timm's Lamb has it."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "d": 1.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take a step; every group counts it, frozen or not, and learns a factor ``d``, as Prodigy does."""
        for group in self.param_groups:
            group.setdefault("step", torch.tensor(0)).add_(1)
            group["d"] *= 0.99
            for tensor in group["params"]:
                if tensor.grad is not None:
                    self._move(group, tensor, self.state[tensor])

    def _move(self, group: dict[str, Any], tensor: torch.Tensor, state: dict[str, Any]) -> None:
        first, second = group["betas"]
        if not state:
            state["mean"], state["square"] = torch.zeros_like(tensor), torch.zeros_like(tensor)
        state["mean"].lerp_(tensor.grad, 1 - first)
        state["square"].lerp_(tensor.grad.square(), 1 - second)
        steps = int(group["step"])
        mean, square = state["mean"] / (1 - first**steps), state["square"] / (1 - second**steps)
        tensor.mul_(1 - group["lr"] * group["weight_decay"])
        tensor.sub_(group["lr"] * group["d"] * mean / (square.sqrt() + 1e-12))


class TwoFaced(Counting):
    """Have other weights for evaluation, as schedule-free optimizers have."""

    def train(self) -> None:
        """Go back to the weights that are trained."""

    def eval(self) -> None:
        """Show the weights that are to be used."""


class Asking(Counting):
    """Ask for the loss, as optimizers with a line search do."""

    def step(self, closure: Any) -> None:
        """Take a step."""
        closure()


class Private(Counting):
    """Count its steps for itself."""

    def step(self, closure: Any = None) -> None:
        """Take a step."""
        self.taken = getattr(self, "taken", 0) + 1
        super().step()


class Keeping(Counting):
    """Keep an object of its own for each tensor, as GaLore's do."""

    def _move(self, group: dict[str, Any], tensor: torch.Tensor, state: dict[str, Any]) -> None:
        state["projector"] = object()
