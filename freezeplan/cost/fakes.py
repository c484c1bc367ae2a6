"""A model on fake tensors: real shapes and operations, no memory behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from freezeplan.apply.formats import computes_in, kept_in
from freezeplan.apply.widening import marked

Holder = dict[str, Any]


def set_fake_tensors(model: nn.Module, mode: FakeTensorMode, device: str = "cpu") -> None:
    """Replace every tensor of a model by a fake one of the same shape and number format, ties kept.

    The model may be on the meta device: what its initialisation would do to the values is never run. What rests in
    half the space does so in its fake, which is widened under :class:`freezeplan.apply.widening.WideningMode`.
    """
    made: dict[int, torch.Tensor] = {}
    with mode:
        for holder, name, tensor in list(_tensors(model)):
            if id(tensor) not in made:
                made[id(tensor)] = _fake(tensor, device)
            holder[name] = made[id(tensor)]


def _tensors(model: nn.Module) -> Iterator[tuple[Holder, str, torch.Tensor]]:
    """Yield each tensor with the dict that holds it: parameters, buffers, and plain attributes of modules."""
    for module in model.modules():
        for holder in (module._parameters, module._buffers, vars(module)):
            for name, value in holder.items():
                if isinstance(value, torch.Tensor):
                    yield holder, name, value


def _fake(tensor: torch.Tensor, device: str) -> torch.Tensor:
    wide = computes_in(tensor)
    fake = torch.empty(tensor.shape, dtype=kept_in(tensor), device=device)
    made = nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake
    return made if wide is None else marked(made, wide)
