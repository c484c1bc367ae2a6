"""A part of every tensor in each process, by torch's ``fully_shard``: a layer is whole only while it runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from accelerate import Accelerator
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from freezeplan.apply.freezing import before_wrapping
from freezeplan.apply.tensors import is_shared_out, whole
from freezeplan.inventory.records import Stack
from freezeplan.outside.memory import give_back_large_blocks
from freezeplan.plan.records import Plan
from freezeplan.train.launching import ranks_of
from freezeplan.train.ranks import Ranks
from freezeplan.train.strategies.on_cpu import save_memory

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
        # A tensor's need of a gradient is looked at when it is shared out, and followed from then on.
        before_wrapping(model, plan)
        mesh = init_device_mesh(self.accelerator.device.type, (self.ranks.count,))
        # One number cannot be shared out.
        whole_everywhere = {tensor for tensor in model.parameters() if tensor.dim() == 0}
        for unit in (*units_of(model, stacks), model):
            fully_shard(unit, mesh=mesh, ignored_params=whole_everywhere)
        model.to(self.accelerator.device)
        for module in model.modules():
            if isinstance(module, FSDPModule):
                # Sums, where fully_shard would take means; and gloo has no reduction that divides.
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)
        if self.accelerator.device.type == "cpu":
            save_memory(model)
        register_fsdp_forward_method(model, COMPUTED)
        # Nothing here writes into what the model puts out.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
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
        some = [tensor for tensor in tensors if tensor.grad is not None]
        found = total_norm(some)
        for shared in (True, False):
            clip_grads_with_norm_([tensor for tensor in some if is_shared_out(tensor) is shared], norm, found)


def total_norm(tensors: Sequence[torch.nn.Parameter]) -> torch.Tensor:
    """Return the norm of the gradients of some tensors together, shared out or not."""
    norms = []
    for shared in (True, False):
        gradients = [tensor.grad for tensor in tensors if is_shared_out(tensor) is shared]
        if gradients:
            norms.append(whole(get_total_norm(gradients)))
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


def units_of(model: torch.nn.Module, stacks: Sequence[Stack]) -> list[torch.nn.Module]:
    """Return the layers of a model that share no tensor with anything else, those inside others first."""
    paths = {path for stack in stacks for span in stack.spans for path in span}
    names: dict[int, list[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(tensor), []).append(name)
    found = []
    for path in sorted(paths, key=lambda path: (-path.count("."), path)):
        layer = model.get_submodule(path)
        own = [name for tensor in layer.parameters() for name in names[id(tensor)]]
        if own and all(name.startswith(f"{path}.") for name in own):
            found.append(layer)
    return found
