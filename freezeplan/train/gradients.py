"""Which trainable tensors a run really reached: gradients at each task's first step, and the rates used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch


@dataclass
class GradientWatch:
    """Remember, per tensor, the largest gradient seen, and per group the largest rate.

    ``largest`` maps names to the largest absolute gradient over the watched steps, None when no step gave
    any. ``tasks`` are those that were trained at least once. ``rates`` maps groups' names to their highest
    rate so far.
    """

    names: tuple[str, ...]
    largest: dict[str, float | None] = field(default_factory=dict)
    tasks: set[str] = field(default_factory=set)
    rates: dict[str, float] = field(default_factory=dict)

    def see_gradients(self, model: torch.nn.Module, tasks: Iterable[str]) -> None:
        """Look at the gradients of a step of tasks that no step trained before; cheap for all later steps."""
        new = set(tasks) - self.tasks
        if not new:
            return
        self.tasks |= new
        parameters = dict(model.named_parameters())
        for name in self.names:
            gradient = parameters[name].grad
            if gradient is not None:
                size = float(gradient.detach().abs().max()) if gradient.numel() else 0.0
                self.largest[name] = max(size, self.largest.get(name) or 0.0)

    def see_rates(self, rates: Mapping[str, float]) -> None:
        """Note the rates that a step used."""
        for name, rate in rates.items():
            self.rates[name] = max(rate, self.rates.get(name, 0.0))

    @property
    def without_gradient(self) -> tuple[str, ...]:
        """Trainable tensors that no task's first step gave a gradient, in the order of the plan."""
        return tuple(name for name in self.names if self.largest.get(name) is None)
