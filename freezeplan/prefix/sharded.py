"""Forwards up to what heads read, also of a model under ``fully_shard``, whose hooks gather its tensors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from freezeplan.apply.tensors import is_shared_out
from freezeplan.inventory.names import is_a


def is_sharded(model: nn.Module) -> bool:
    """Whether a model's tensors are shared out among processes by ``fully_shard``."""
    return is_a(model, "FSDPModule")


def pooled(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
    """Return what the heads of a model read, of a batch; every process must ask for it where it is sharded.

    A sharded model has all its tensors shared out again afterwards, also where the forward was left.
    """
    if not is_sharded(model):
        return model.pool(**inputs)
    try:
        return model(no_heads=True, **inputs)
    finally:
        model.reset_iter_state()


def gradients(loss: torch.Tensor, trained: Sequence[torch.Tensor]) -> list[torch.Tensor | None]:
    """Return the gradients of a loss, None for tensors that it does not reach; none are left in the tensors.

    Of tensors that are shared out it is the sum over the processes, shared out as they are.
    """
    if not any(map(is_shared_out, trained)):
        return list(torch.autograd.grad(loss, trained, allow_unused=True))
    before = [tensor.grad for tensor in trained]
    for tensor in trained:
        tensor.grad = None
    loss.backward()
    found = [tensor.grad for tensor in trained]
    for tensor, gradient in zip(trained, before, strict=True):
        tensor.grad = gradient
    return found


@contextmanager
def ungathered(model: nn.Module, blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Leave blocks of a sharded model shared out when they are called: none of their own code runs within the block."""
    hooks = [(block, block._forward_pre_hooks, block._forward_hooks) for block in blocks]
    sharded = is_sharded(model)
    try:
        for block in blocks if sharded else ():
            block._forward_pre_hooks, block._forward_hooks = OrderedDict(), OrderedDict()
        yield
    finally:
        for block, before, after in hooks if sharded else ():
            block._forward_pre_hooks, block._forward_hooks = before, after


@contextmanager
def disturbed(model: nn.Module) -> Iterator[None]:
    """Run the block with other values in all tensors of a model that need a gradient; their bits come back."""
    trained = [tensor.detach() for tensor in model.parameters() if tensor.requires_grad]
    parts = [tensor.to_local() if is_shared_out(tensor) else tensor for tensor in trained]
    before = [part.clone() for part in parts]
    try:
        for part in parts:
            part.mul_(1.5).add_(0.125)
        yield
    finally:
        for part, values in zip(parts, before, strict=True):
            part.copy_(values)
