"""Which tensors of a model are written to disk, and in which form."""

from __future__ import annotations

from collections.abc import Callable

import torch

from freezeplan.inventory.names import canonical_parameters


def parameters_by_name(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return every parameter once, under its first name in the plan, in the order of the model.

    A plan's names are without wrappers and parametrizations; only the names are other ones than those of
    ``named_parameters()``, never the tensors or their order.
    """
    first: dict[int, tuple[str, torch.nn.Parameter]] = {}
    for name, _, tensor in canonical_parameters(model):
        first.setdefault(id(tensor), (name, tensor))
    return dict(first.values())


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return every parameter and persistent buffer, on the CPU, each in storage of its own."""
    persistent = set(model.state_dict())
    found = dict(model.named_parameters())
    found |= {name: buffer for name, buffer in model.named_buffers() if name in persistent}
    return {name: own_copy(tensor) for name, tensor in found.items()}


def all_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return every parameter and every buffer by its first name, those that are never saved included."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def own_copy(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor, whole, on the CPU in row order, that shares its storage with no other part of a tensor."""
    tensor = whole(tensor).cpu().contiguous()
    alone = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if alone else tensor.clone()


def is_shared_out(tensor: torch.Tensor) -> bool:
    """Whether each of several processes holds a part of a tensor (torch's DTensor)."""
    return hasattr(tensor, "full_tensor")


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """Return what this process holds of a tensor, without its graph: all of it, unless it is shared out."""
    tensor = tensor.detach()
    part: Callable[[], torch.Tensor] | None = getattr(tensor, "to_local", None)
    return tensor if part is None else part()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return all of a tensor, without its graph.

    One that is shared out among processes is gathered: all of them must ask for it, at the same time.
    """
    tensor = tensor.detach()
    gather: Callable[[], torch.Tensor] | None = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def shared_like(values: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return this process's part of some values, shared out as another tensor is; nothing is exchanged."""
    if not is_shared_out(other):
        return values
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(other, DTensor)
    return distribute_tensor(values, other.device_mesh, other.placements, src_data_rank=None)
