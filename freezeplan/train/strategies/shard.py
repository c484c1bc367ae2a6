"""A part of every tensor in each process, by torch's ``fully_shard``: a layer is whole only while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from accelerate import Accelerator
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import register_fsdp_forward_method

from freezeplan.apply.sharing_out import clip_parts, share_out
from freezeplan.apply.tensors import is_shared_out
from freezeplan.inventory.records import Stack
from freezeplan.outside.memory import give_back_large_blocks
from freezeplan.plan.records import Plan
from freezeplan.train.launching import ranks_of
from freezeplan.train.ranks import Ranks

COMPUTED = "computed"


@dataclass(frozen=True)
class Shard:
    """Hold a part of every tensor, of its gradient and of its optimizer state in each process.

    Each layer of the model's stacks is one unit, what is around them another. A unit is gathered when it runs, in
    the forward and in the backward pass, and its gradients are added up and shared out when its backward pass is
    over. So all processes must run the model at the same time, as often as each other: one that has no row of a
    batch runs one for nothing.
    """

    accelerator: Accelerator
    name: str = "shard"

    @cached_property
    def ranks(self) -> Ranks:
        """The processes of the run, which run every forward pass together."""
        return replace(ranks_of(self.accelerator), together=True)

    def placed(self, model: torch.nn.Module, plan: Plan, stacks: Sequence[Stack]) -> torch.nn.Module:
        """Share out a model's tensors, unit by unit, so that no more than one unit is there twice."""
        if self.accelerator.device.type == "cpu":
            give_back_large_blocks()
        mesh = init_device_mesh(self.accelerator.device.type, (self.ranks.count,))
        share_out(model, plan, stacks, mesh, self.accelerator.device)
        register_fsdp_forward_method(model, COMPUTED)
        return model

    def computed(self, model: torch.nn.Module, work: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Do the work as a part of the model's forward pass, so that its backward pass is watched too."""
        found: torch.Tensor = getattr(model, COMPUTED)(work)
        return found

    def sum_gradients(self, tensors: Sequence[torch.nn.Parameter]) -> None:
        """Add up what is not shared out; the rest was added up in the backward pass."""
        self.ranks.set_summed_gradients([tensor for tensor in tensors if not is_shared_out(tensor)])

    def clip(self, tensors: Sequence[torch.nn.Parameter], norm: float) -> None:
        """Scale the gradients down to a norm, which is worked out from the parts that the processes hold."""
        clip_parts(tensors, norm)
