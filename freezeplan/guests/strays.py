"""Weights that get a gradient in a host's step and are in no group: they would never move, and nothing would say so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from freezeplan.apply.living import living
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_few

MOST_NAMED = 8
Stamp = tuple[int, int]


def check_hosted(host: torch.nn.Module, model: torch.nn.Module) -> None:
    """Raise (FP448) where a host's model has weights that need a gradient and are not the guest's."""
    own = {id(tensor) for tensor in model.parameters()}
    found = host.named_parameters()
    strays = [name for name, tensor in found if tensor.requires_grad and id(tensor) not in own]
    if strays:
        raise DiagnosticError([_untrained("the Trainer's model has", [f"`{name}`" for name in strays])])


class StrayGradients:
    """Find the weights that get a gradient between two moments and that no optimizer holds.

    A host's step reaches whatever its loss is computed from, and only what is in a group moves. Nothing leads from
    a Trainer's callback to the modules of its loss, so they are looked for among all objects that are alive.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._own = {id(tensor) for tensor in model.parameters()}
        self._before = {id(tensor): _stamp(tensor) for tensor in self._candidates()}

    def check(self) -> None:
        """Raise (FP448) for weights that have got a gradient since."""
        reached = [item for item in self._candidates() if self._before.get(id(item)) != _stamp(item)]
        if reached:
            held = {id(tensor) for tensor in _held()}
            strays = [tensor for tensor in reached if id(tensor) not in held]
            if strays:
                raise DiagnosticError([_untrained("the loss is computed with", list(_names(strays)))])

    def _candidates(self) -> Iterator[torch.nn.Parameter]:
        for item in living(torch.nn.Parameter):
            if item.grad is not None and id(item) not in self._own:
                yield item


def _stamp(tensor: torch.Tensor) -> Stamp:
    """Tell one gradient from another, and from itself when more has been added to it."""
    assert tensor.grad is not None
    return id(tensor.grad), tensor.grad._version


def _held() -> Iterator[torch.Tensor]:
    """Yield what any optimizer holds: the loss may be trained by one of its own."""
    for optimizer in living(torch.optim.Optimizer):
        for group in optimizer.param_groups:
            yield from group["params"]


def _names(tensors: Iterable[torch.Tensor]) -> Iterator[str]:
    """Name tensors by their place in the outermost module that holds them."""
    places: dict[int, str] = {}
    modules = list(living(torch.nn.Module))
    inner = {id(child) for module in modules for child in module.children()}
    for module in modules:
        if id(module) not in inner:
            for name, tensor in module.named_parameters():
                places.setdefault(id(tensor), f"`{type(module).__name__}`: `{name}`")
    for tensor in tensors:
        yield places.get(id(tensor), f"a parameter of shape {tuple(tensor.shape)} in no module")


def _untrained(where: str, names: list[str]) -> Any:
    return diagnostic(
        "FP448",
        f"{where} {len(names)} trainable tensors that are in no group of the plan: they would never move",
        help="compile the plan for the module that holds them and the model, and build the guest for that one: "
        "`trainer_guest(loss, plan)`; or set `requires_grad = False` on them",
        notes=first_few(names, MOST_NAMED),
    )
