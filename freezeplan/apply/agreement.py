"""Whether the processes of one training hold the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from freezeplan.apply.wrapping import distributed_wrappers

if TYPE_CHECKING:
    import torch


def differing(model: torch.nn.Module, tensors: dict[str, torch.nn.Parameter]) -> Iterator[str]:
    """Say which tensors of a model under DistributedDataParallel are not the same on every rank.

    ``tensors`` are the model's by name; they are compared by name, need of a gradient and hash. Every rank must call
    this. A model that no DDP holds is not compared: its processes may be meant to differ, or hold shards.
    """
    for wrapper in distributed_wrappers(model):
        ranks = wrapper.process_group.size()
        if ranks > 1:
            yield from _compared(_gathered(wrapper, tensors, ranks))


Sums = dict[str, tuple[bool, str]]


def _gathered(wrapper: torch.nn.Module, tensors: dict[str, torch.nn.Parameter], ranks: int) -> list[Sums]:
    import torch.distributed as dist

    from freezeplan.apply.fingerprints import sha256

    found: list[Sums] = [{} for _ in range(ranks)]
    own = {name: (tensor.requires_grad, sha256(tensor)) for name, tensor in tensors.items()}
    dist.all_gather_object(found, own, group=wrapper.process_group)
    return found


def _compared(found: list[Sums]) -> Iterator[str]:
    first = found[0]
    for name in dict.fromkeys(name for sums in found for name in sums):
        others = [rank for rank, sums in enumerate(found) if sums.get(name) != first.get(name)]
        if others:
            yield f"`{name}` is not on rank {', '.join(map(str, others))} what it is on rank 0"
