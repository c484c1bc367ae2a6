"""Sharing out the tensors of a live model among processes, by torch's ``fully_shard``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from freezeplan.apply.formats import computes_in
from freezeplan.apply.freezing import before_wrapping
from freezeplan.apply.on_cpu import save_memory
from freezeplan.apply.resting import store_plainly
from freezeplan.apply.tensors import is_shared_out, whole
from freezeplan.inventory.records import Stack
from freezeplan.inventory.structure import is_under
from freezeplan.plan.records import Plan


def share_out(
    model: torch.nn.Module, plan: Plan, stacks: Sequence[Stack], mesh: DeviceMesh, device: torch.device
) -> None:
    """Share out a model's tensors among the processes of a mesh, in place, and move what is left to a device.

    Each layer of the stacks is one unit, what is around them another; a tensor of one number stays whole. Gradients
    are sums over the processes.
    """
    # A tensor's need of a gradient is looked at when it is shared out, and followed from then on.
    before_wrapping(model, plan)
    # One number cannot be shared out.
    whole_everywhere = {tensor for tensor in model.parameters() if tensor.dim() == 0}
    for unit in (*units_of(model, stacks), model):
        own = [tensor for tensor in unit.parameters() if tensor not in whole_everywhere]
        policy = _widening([tensor for tensor in own if not is_shared_out(tensor)])
        fully_shard(unit, mesh=mesh, ignored_params=whole_everywhere, mp_policy=policy)
    model.to(device)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # Sums, where fully_shard would take means; and gloo has no reduction that divides.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    if device.type == "cpu":
        save_memory(model)
    # Nothing here writes into what the model puts out.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")


def _widening(tensors: Sequence[torch.nn.Parameter]) -> MixedPrecisionPolicy:
    """Make ordinary tensors, in the format that they are stored in, of those that rest; returns how they compute.

    What is gathered of them is then of their full width: they rest in their parts.
    """
    formats = {wide for tensor in tensors if (wide := computes_in(tensor)) is not None}
    for tensor in tensors:
        store_plainly(tensor)
    return MixedPrecisionPolicy(param_dtype=formats.pop() if formats else None, cast_forward_inputs=False)


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
        if own and all(is_under(name, path) for name in own):
            found.append(layer)
    return found


def clip_parts(tensors: Sequence[torch.nn.Parameter], norm: float) -> None:
    """Scale gradients down so that their norm, over all parts of all tensors, is at most ``norm``."""
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
