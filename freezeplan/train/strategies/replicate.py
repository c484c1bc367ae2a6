"""The whole model in each process; gradients are added up once per step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from accelerate import Accelerator

from freezeplan.inventory.records import Stack
from freezeplan.plan.records import Plan
from freezeplan.train.launching import ranks_of
from freezeplan.train.ranks import Ranks


@dataclass(frozen=True)
class Replicate:
    """Hold the whole model in each process, and exchange gradients after the last batch of a step."""

    accelerator: Accelerator
    name: str = "replicate"

    @cached_property
    def ranks(self) -> Ranks:
        """The processes of the run, and which of them this is."""
        return ranks_of(self.accelerator)

    def placed(self, model: torch.nn.Module, plan: Plan, stacks: Sequence[Stack]) -> torch.nn.Module:
        """Return the model on this process's device."""
        # Without DistributedDataParallel, whatever the number of processes: gradients are added up here.
        placed: torch.nn.Module = self.accelerator.prepare_model(model, evaluation_mode=True)
        return placed

    def computed(self, model: torch.nn.Module, work: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Do the work: the model's tensors are all there."""
        return work()

    def sum_gradients(self, tensors: Sequence[torch.nn.Parameter]) -> None:
        """Put the sum of the processes' gradients in the place of each one's own."""
        self.ranks.set_summed_gradients(tensors)

    def clip(self, tensors: Sequence[torch.nn.Parameter], norm: float) -> None:
        """Scale the gradients down to a norm."""
        self.accelerator.clip_grad_norm_(tensors, norm)
