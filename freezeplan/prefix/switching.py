"""Temporary changes to a live model that are always undone: methods of instances, modes, flags, random state."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy
import torch
from torch import nn

from freezeplan.prefix.refusal import Reason, Refused


@contextmanager
def replacing(method: str, replacements: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Give modules a method of their own within the block; the class's comes back whatever happens.

    Raises :class:`Refused` (PATCHED), before anything is changed, when one has its own already.
    """
    for module in replacements:
        if method in module.__dict__:
            raise Refused(Reason.PATCHED, f"`{method}` of a {type(module).__name__}")
    try:
        for module, replacement in replacements.items():
            module.__dict__[method] = replacement
        yield
    finally:
        for module in replacements:
            module.__dict__.pop(method, None)


class EvalSwitch:
    """Turn training mode off on every module of a model, and back on where it was on."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = list(model.modules())
        self.live: list[nn.Module] = []

    def turn_off(self) -> None:
        """Put every module into eval mode, passing over ``train`` methods: frozen modules pin theirs."""
        self.restore()
        self.live = [module for module in self.modules if module.training]
        for module in self.live:
            module.training = False

    def restore(self) -> None:
        """Put back into training mode what :meth:`turn_off` took out of it."""
        for module in self.live:
            module.training = True
        self.live = []


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Run the block with every module in eval mode."""
    switch = EvalSwitch(model)
    try:
        switch.turn_off()
        yield
    finally:
        switch.restore()


@contextmanager
def preserving_state(model: nn.Module) -> Iterator[None]:
    """Undo what the block does to buffers and to the state of the random generators."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    states = torch.get_rng_state(), random.getstate(), numpy.random.get_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        numpy.random.set_state(states[2])
        torch.cuda.set_rng_state_all(devices)
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


@contextmanager
def with_trainable(model: nn.Module, names: Collection[str] | None) -> Iterator[None]:
    """Run the block with exactly the named parameters requiring gradients; None leaves them as they are."""
    before = {tensor: tensor.requires_grad for tensor in model.parameters()}
    try:
        for name, tensor in model.named_parameters():
            if names is not None and tensor.is_floating_point():
                tensor.requires_grad_(name in names)
        yield
    finally:
        for tensor, flag in before.items():
            tensor.requires_grad_(flag)


def random_state() -> tuple[torch.Tensor, ...]:
    """Return the state of torch's generators, the CPU's first."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return (torch.get_rng_state(), *devices)


def same_tensors(left: Collection[torch.Tensor], right: Collection[torch.Tensor]) -> bool:
    """Whether two lists of tensors are equal bit for bit (NaN is equal to nothing)."""
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
