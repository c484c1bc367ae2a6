"""Layers that run again in the backward pass: the same gradients, and only where a gradient goes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from accelerate.utils import set_seed

from freezeplan.api import compile_plan
from freezeplan.apply import apply_freeze
from freezeplan.apply.recomputing import checkpoint_above, checkpointing_layers
from freezeplan.inventory.from_module import inventory_of
from tests.prefix.architectures import ARCHITECTURES, Architecture, build, make_batch

NAMED = ("bert", "vit", "gpt2", "llama")
ROWS = [
    pytest.param(item, id=item.label, marks=() if item.label in NAMED else pytest.mark.slow)
    for item in ARCHITECTURES
]


def frozen(model: torch.nn.Module, narrow: str | None = None) -> list[torch.nn.Module]:
    """Train the heads and one layer in the middle; returns the layers of the main stacks above the frozen part."""
    stacks = [stack for stack in inventory_of(model).stacks if stack.main]
    middle = [stack.layers[stack.length // 2] for stack in stacks]
    rules = [{"match": "**", "state": "frozen"}, {"match": ["heads", *middle], "state": "trainable"}]
    spec = {"rule": rules, "model": {"frozen_dtype": narrow} if narrow else {}}
    apply_freeze(model, compile_plan(model, spec))
    return [model.get_submodule(path) for stack in stacks for path in stack.layers[stack.length // 2 :]]


def gradients(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return logits, gradients and the next random number, from one random state."""
    set_seed(3)
    logits = model(task="topic", **batch)
    logits.square().sum().backward()
    found = [tensor.grad.clone() for tensor in model.parameters() if tensor.grad is not None]
    model.zero_grad(set_to_none=True)
    return [logits.detach(), *found, torch.rand(1)]


def runs(layers: list[torch.nn.Module], work: Any) -> Counter[int]:
    """Count how often a part of each layer runs while some work is done."""
    counts: Counter[int] = Counter()
    parts = {id(next(iter(layer.children()))): place for place, layer in enumerate(layers)}
    handles = [
        next(iter(layer.children())).register_forward_hook(lambda part, *_: counts.update([parts[id(part)]]))
        for layer in layers
    ]
    work()
    for handle in handles:
        handle.remove()
    return counts


@pytest.mark.parametrize("architecture", ROWS)
def test_gradients_are_the_same_bits_and_only_layers_above_the_frozen_part_run_again(
    architecture: Architecture,
) -> None:
    model = build(architecture)
    layers = checkpointing_layers(model)
    if not layers:
        pytest.skip("none of its layers can run again")
    above = frozen(model)
    batch = make_batch(architecture.reads, [12, 7, 12], 1)
    expected = gradients(model, batch)
    chosen = checkpoint_above(model)
    assert {id(item) for item in above if item in layers} <= {id(item) for item in chosen}
    found: list[torch.Tensor] = []
    counts = runs(layers, lambda: found.extend(gradients(model, batch)))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    if architecture.label in NAMED:
        runs_again = [item in above for item in layers]
        assert [counts[place] for place in range(len(layers))] == [1 + again for again in runs_again]
        assert [item.gradient_checkpointing for item in layers] == runs_again


def test_layers_whose_weights_rest_run_again_to_the_same_bits() -> None:
    (bert,) = [item for item in ARCHITECTURES if item.label == "bert"]
    model = build(bert)
    frozen(model, "bfloat16")
    batch = make_batch(bert.reads, [12, 7, 12], 1)
    expected = gradients(model, batch)
    checkpoint_above(model)
    assert all(torch.equal(a, b) for a, b in zip(gradients(model, batch), expected, strict=True))


def test_with_everything_frozen_below_the_heads_nothing_runs_again() -> None:
    (bert,) = [item for item in ARCHITECTURES if item.label == "bert"]
    model = build(bert)
    rules = [{"match": "backbone", "state": "frozen"}, {"match": "heads", "state": "trainable"}]
    apply_freeze(model, compile_plan(model, {"rule": rules}))
    assert checkpoint_above(model) == []
    assert not any(layer.gradient_checkpointing for layer in checkpointing_layers(model))
