"""What a way of sharing a run among processes has to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from freezeplan.inventory.records import Stack
from freezeplan.plan.records import Plan
from freezeplan.train.ranks import Ranks


class SharingStrategy(Protocol):
    """Share a run among its processes.

    Whatever the way, the gradient of a step is the sum over all processes of the sums of their losses, divided by
    the step's terms: a step is the same on one process as on many, but for the order in which numbers are added.
    """

    name: str

    @property
    def ranks(self) -> Ranks:
        """The processes of the run, and which of them this is."""

    def placed(self, model: torch.nn.Module, plan: Plan, stacks: Sequence[Stack]) -> torch.nn.Module:
        """Return a model, as it was loaded, where it is to be trained; ``stacks`` are those of its layers.

        It is put into the first phase of the plan afterwards.
        """

    def computed(self, model: torch.nn.Module, work: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return what some work gives that uses tensors of the model after its forward pass."""

    def sum_gradients(self, tensors: Sequence[torch.nn.Parameter]) -> None:
        """Bring the gradients of a step, after its last backward pass, to their sum over the processes."""

    def clip(self, tensors: Sequence[torch.nn.Parameter], norm: float) -> None:
        """Scale the summed gradients down so that their norm, over all tensors together, is at most ``norm``."""
