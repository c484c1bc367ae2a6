"""Gradient checkpointing under a plan: frozen layers go on with it, without dropout, and nothing runs for nothing."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

import freezeplan
from benchmarks.checkpointing import MOST, train
from tests.apply.wrapping import MODELS, tiny, values

TOP = {
    "optimizer": {"lr": 1e-2},
    "rule": [
        {"name": "rest", "match": "**", "state": "frozen"},
        {"name": "top", "match": "@layers[-1:]", "state": "trainable"},
    ],
}
BOTTOM = {"rule": [{"match": "**", "state": "frozen"}, {"match": "@layers[:1]", "state": "trainable"}]}
WHOLE = {"rule": [{"match": "**", "state": "trainable"}]}


@pytest.fixture
def bf16_for_a_while() -> Iterator[None]:
    """Take bf16 back, which a Trainer sets up for the whole process: in the environment and in accelerate."""
    with patch.dict(os.environ):
        yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("bf16_for_a_while")
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("what", ["top", "bottom"])
def test_no_more_is_kept_for_backward_than_by_plain_freezing(what: str, reentrant: bool) -> None:
    stock, dropping, moved = train("llama", what, ours=False, reentrant=reentrant, trl=True)
    kept, dropout, ours = train("llama", what, ours=True, reentrant=reentrant, trl=True)
    trained = 11 if what == "top" else 0
    assert kept <= MOST * stock
    assert len(dropping) == 12
    assert dropout == {f"model.layers.{trained}.self_attn"}
    assert ours == moved


def checkpointed(spec: dict[str, Any], *, reentrant: bool = False, later: bool = False) -> Any:
    """Return a BERT under a plan that checkpoints its layers, with or without the plan first."""
    model = tiny("bert")
    if later:
        freezeplan.build_param_groups(model, spec)
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    if not later:
        freezeplan.build_param_groups(model, spec)
    return model.train()


def runs_of(model: Any) -> dict[int, list[tuple[bool, bool]]]:
    """Count how often each layer's attention runs in a step: its mode, and whether the graph is being built."""
    found: dict[int, list[tuple[bool, bool]]] = {}
    for place, layer in enumerate(model.bert.encoder.layer):
        found[place] = []
        layer.attention.register_forward_pre_hook(
            lambda module, inputs, place=place, layer=layer: found[place].append(
                (module.training, layer.training)
            )
        )
    model(**MODELS["bert"][3]).loss.backward()
    return found


@pytest.mark.parametrize("later", [False, True])
def test_a_frozen_layer_runs_twice_in_eval_mode_inside(later: bool) -> None:
    model = checkpointed(BOTTOM, later=later)
    assert runs_of(model) == {0: [(True, True)] * 2, 1: [(False, False)] * 2, 2: [(False, False)] * 2}
    assert not any(module.training for module in model.bert.encoder.layer[1].modules())


@pytest.mark.parametrize("later", [False, True])
def test_a_frozen_prefix_runs_once(later: bool) -> None:
    model = checkpointed(TOP, later=later)
    assert {place: len(seen) for place, seen in runs_of(model).items()} == {0: 1, 1: 1, 2: 2}


def test_evaluation_checkpoints_nothing() -> None:
    model = checkpointed(BOTTOM).eval()
    assert {len(seen) for seen in runs_of(model).values()} == {1}


def hooks(model: Any) -> int:
    return len(model.get_input_embeddings()._forward_hooks)


def test_the_hook_on_the_embeddings_comes_back_with_a_phase_that_trains_them() -> None:
    model = checkpointed(TOP)
    assert hooks(model) == 0
    freezeplan.apply_freeze(model, freezeplan.compile_plan(model, WHOLE))
    assert hooks(model) == 1
    freezeplan.apply_freeze(model, freezeplan.compile_plan(model, TOP))
    model.disable_input_require_grads()
    freezeplan.apply_freeze(model, freezeplan.compile_plan(model, WHOLE))
    assert hooks(model) == 0


def test_reentrant_checkpointing_keeps_the_hook_that_it_needs() -> None:
    model = checkpointed(TOP, reentrant=True, later=True)
    assert hooks(model) == 1
    model(**MODELS["bert"][3]).loss.backward()
    assert all(tensor.grad is not None for tensor in model.bert.encoder.layer[2].parameters())


def test_hooks_that_were_asked_for_without_checkpointing_stay() -> None:
    model = tiny("bert")
    model.enable_input_require_grads()
    freezeplan.build_param_groups(model, TOP)
    assert hooks(model) == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_checkpointed_model_trains_alike(copied: Any) -> None:
    model = checkpointed(BOTTOM)
    other = copied(model) if copied is copy.deepcopy else copied(checkpointed_plainly())
    for one in (model, other):
        one.train()
        one(**MODELS["bert"][3]).loss.backward()
    mine, its = (dict(one.named_parameters()) for one in (model, other))
    assert all(
        (tensor.grad is None and its[name].grad is None) or torch.equal(tensor.grad, its[name].grad)
        for name, tensor in mine.items()
    )
    assert values(model).keys() == values(other).keys()


def checkpointed_plainly() -> nn.Module:
    """Return the model of :func:`checkpointed` as it can be pickled: the library's hook is a local function."""
    model = checkpointed(BOTTOM)
    model.disable_input_require_grads()
    return model
