"""The frozen prefix found on fake tensors: what could be stored there, and what that would save."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from freezeplan.cost.inputs import first_floats
from freezeplan.cost.trial import Trial
from freezeplan.cost.work import flop_counter
from freezeplan.inventory.records import Stack
from freezeplan.plan.records import FrozenPrefix
from freezeplan.prefix.parts import POOLED, STATES


@dataclass(frozen=True)
class PrefixWork:
    """Say what a frozen prefix takes for ``texts`` texts or images: the FLOPs until there, and the bytes that are kept.

    Heads over words are given ``states``, all others ``nbytes``: of a whole backbone pooled vectors.
    """

    prefix: FrozenPrefix
    texts: int
    flops: int
    nbytes: int
    states: int


def frozen_prefix_work(trial: Trial, objective: str, stack: Stack | None) -> PrefixWork | str:
    """Return the largest prefix whose output depends on nothing trainable; else, in words, why there is none.

    Autograd is the judge: a tensor that depends on something trainable asks for a gradient.
    """
    texts = trial.texts_of(objective) * trial.size_of(objective)
    whole = _whole(trial, objective, stack, texts)
    if whole is not None:
        return whole
    if stack is None:
        return "no stack of layers was found"
    if stack.shared:
        return f"the layers share their tensors: {stack.shared}"
    if stack.companions:
        return "each layer is made of several modules"
    with trial.running(), flop_counter() as counter, _watching(trial.model, stack, counter) as calls:
        trial.loss(objective)
    return _longest(calls, stack, texts)


def _whole(trial: Trial, objective: str, stack: Stack | None, texts: int) -> PrefixWork | None:
    if trial.tasks is None or not trial.model.splits:
        return None
    with trial.running(), flop_counter() as counter:
        vectors = trial.model.pool(**trial.batch(objective, trial.size_of(objective)))
        if vectors.requires_grad:
            return None
    layers = stack.length if stack else 0
    whole = FrozenPrefix(stack.path if stack else None, layers, layers, whole_backbone=True)
    parts = {POOLED: vectors} if trial.model.pools else trial.model.parts(vectors)
    pooled, states = (_nbytes(parts[name]) if name in parts else 0 for name in (POOLED, STATES))
    return PrefixWork(whole, texts, counter.get_total_flops(), pooled, states)


def _longest(calls: list[_Call], stack: Stack, texts: int) -> PrefixWork | str:
    order = [call.layer for call in calls]
    if order != list(range(stack.length)):
        return f"the layers of `{stack.label}` do not run once each, in their order"
    frozen = [call for call in calls if not call.trains]
    count = next((call.layer for call in calls if call.trains), len(frozen))
    if not count:
        return "the first layer trains, or something before it does"
    last = calls[count - 1]
    if not last.nbytes:
        return f"layer {last.layer} of `{stack.label}` puts out no floating-point numbers"
    prefix = FrozenPrefix(stack.path, count, stack.length)
    flops = sum(call.flops for call in calls[:count])
    return PrefixWork(prefix, texts, flops, last.nbytes, last.nbytes)


@dataclass
class _Call:
    """Note one call of one layer: the FLOPs in it, and what came out."""

    layer: int
    flops: int
    nbytes: int = 0
    trains: bool = False


@contextmanager
def _watching(model: nn.Module, stack: Stack, counter: FlopCounterMode) -> Iterator[list[_Call]]:
    calls: list[_Call] = []
    watch = _Watch(counter, calls)
    hooks = [hook for index, path in enumerate(stack.layers) for hook in watch.on(model, index, path)]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@dataclass
class _Watch:
    counter: FlopCounterMode
    calls: list[_Call]
    open: list[_Call] = field(default_factory=list)

    def on(self, model: nn.Module, index: int, path: str) -> Iterable[Any]:
        """Put hooks on one layer."""

        def before(*_: Any) -> None:
            self.open.append(_Call(index, self.counter.get_total_flops()))

        def after(_module: nn.Module, _inputs: Any, output: Any) -> None:
            call, states = self.open.pop(), first_floats(output)
            call.flops = self.counter.get_total_flops() - call.flops
            if states is not None:
                call.nbytes, call.trains = _nbytes(states), states.requires_grad
            self.calls.append(call)

        layer = model.get_submodule(path)
        return layer.register_forward_pre_hook(before), layer.register_forward_hook(after)


def _nbytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
