"""Which tensors of a model are written to disk, and in which form."""

from __future__ import annotations

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
    """Return a tensor on the CPU in row order that shares its storage with no other part of a tensor."""
    tensor = tensor.detach().cpu().contiguous()
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if whole else tensor.clone()
