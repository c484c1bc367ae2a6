"""Which tensors of a model an intermediate result depends on, by autograd and by experiment."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import nn
from torch.func import functional_call

from freezeplan.prefix.observation import Observation, observe
from freezeplan.prefix.sharded import disturbed, is_sharded
from freezeplan.prefix.switching import with_trainable


class _Pool(nn.Module):
    """Give the part of a model that reads the input a ``forward``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Return the pooled vectors."""
        return self.model.pool(**inputs)


def observe_disturbed(
    model: nn.Module, blocks: Collection[str], batch: Mapping[str, torch.Tensor]
) -> Observation:
    """Watch a forward in which every tensor that trains has other values; the model itself is not touched.

    What comes out the same as before depends on none of them, not even past a ``detach``.
    """
    if is_sharded(model):
        with disturbed(model), torch.no_grad():
            return observe(model, tuple(blocks), batch)
    other = _disturbed(model)
    watched = _Pool(model)

    def forward(**inputs: torch.Tensor) -> torch.Tensor:
        return functional_call(watched, other, (), inputs, tie_weights=False)

    with torch.no_grad():
        return observe(model, tuple(blocks), batch, forward)


def _disturbed(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return other values of every tensor that trains, by each module's first name: one value where modules share one.

    Left to find tied tensors itself, ``functional_call`` puts those of a module with two names in place twice, and
    takes what it put there first for the module's own.
    """
    values: dict[torch.Tensor, torch.Tensor] = {}
    return {
        f"model.{path}.{name}" if path else f"model.{name}": values.setdefault(
            tensor, tensor.detach() * 1.5 + 0.125
        )
        for path, module in model.named_modules()
        for name, tensor in module.named_parameters(recurse=False)
        if tensor.requires_grad
    }


def tensors_below(
    model: nn.Module, blocks: Collection[str], batch: Mapping[str, torch.Tensor]
) -> dict[str, tuple[str, ...]]:
    """Return, for each block and for ``""`` (the pooled vectors), the names of the tensors that it depends on.

    These are the parameters that autograd finds when all require gradients, the tensors of the modules that
    had returned by then, and the frozen ones and buffers of those that had been entered (a container's own).
    """
    frozen = {name for name, tensor in model.named_parameters() if not tensor.requires_grad}
    with with_trainable(model, dict(model.named_parameters()).keys()), torch.enable_grad():
        seen = observe(model, tuple(blocks), batch)
    own = _own_tensors(model)
    frozen |= {name for name, _ in model.named_buffers()}
    found = {"": _graph_leaves(seen, seen.pooled) | _of(own, seen.entered)}
    for call in seen.calls:
        if call.hidden is not None:
            below = _of(own, call.finished) | (_of(own, call.entered) & frozen)
            found.setdefault(call.block, _graph_leaves(seen, call.hidden) | below)
    order = [name for names in own.values() for name in names]
    return {block: tuple(name for name in order if name in names) for block, names in found.items()}


def _own_tensors(model: nn.Module) -> dict[str, tuple[str, ...]]:
    canonical = {id(tensor): name for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    return {
        path: tuple(
            dict.fromkeys(
                canonical[id(tensor)]
                for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))
            )
        )
        for path, module in model.named_modules()
    }


def _of(own: Mapping[str, tuple[str, ...]], modules: Collection[str]) -> set[str]:
    return {name for path in modules for name in own[path]}


def _graph_leaves(seen: Observation, tensor: torch.Tensor | None) -> set[str]:
    """Return the names of the parameters that a tensor's autograd graph ends in."""
    names = seen.names
    start = getattr(tensor, "grad_fn", None)
    todo, known, found = [start] if start else [], {start}, set()
    while todo:
        node = todo.pop()
        found.add(names.get(id(getattr(node, "variable", None))))
        following = {child for child, _ in node.next_functions if child is not None} - known
        known |= following
        todo.extend(following)
    return found - {None}
