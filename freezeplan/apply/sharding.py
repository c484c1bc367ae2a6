"""What `fully_shard` asks of parameter groups: the sharded tensors, and one mesh per group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freezeplan.inventory.names import is_a

if TYPE_CHECKING:
    import torch

Pairs = list[tuple[str, "torch.nn.Parameter"]]


def reshard_parameters(model: torch.nn.Module) -> None:
    """Give the parameters of a model under ``fully_shard`` back their sharded form.

    After a forward pass without a backward pass (an evaluation) the modules hold the gathered tensors: an
    optimizer over those would train nothing.
    """
    for module in model.modules():
        if is_a(module, "FSDPModule"):
            module.reshard()


def split_by_mesh(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Split each parameter group into one per device mesh, its unsharded tensors apart.

    torch's foreach and fused optimizers refuse a list of both kinds. The part that holds a group's first
    tensor keeps its name; the others add ``unsharded``, ``sharded``, or ``sharded 2`` and so on to it.
    Groups of one kind come back as they are.
    """
    taken = {group["name"] for group in groups}
    found = []
    for group in groups:
        first, *others = _by_mesh(group["params"])
        found.append({**group, "params": first[1]})
        for mesh, pairs in others:
            name = _unused(f"{group['name']}/{'unsharded' if mesh is None else 'sharded'}", taken)
            taken.add(name)
            found.append({**group, "params": pairs, "name": name})
    return found


def _by_mesh(pairs: Pairs) -> list[tuple[Any, Pairs]]:
    parts: list[tuple[Any, Pairs]] = []
    for name, tensor in pairs:
        # Only a DTensor has one.
        mesh = getattr(tensor, "device_mesh", None)
        part = next((part for other, part in parts if other == mesh), None)
        if part is None:
            parts.append((mesh, part := []))
        part.append((name, tensor))
    return parts


def _unused(name: str, taken: set[str]) -> str:
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name} {number}", number + 1
    return unique
