"""Taking a plan off a model: everything but the weights is as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import freezeplan
from freezeplan.apply.checkpointing import held_by
from freezeplan.inventory.as_made import needs_gradient_as_made
from tests.apply.phased import Trunk, plan_of, take_step
from tests.apply.wrapping import tiny


def made() -> nn.Module:
    """Return a model with something frozen and something in eval mode by hand."""
    model = Trunk()
    model.top[1].eval()
    model.low[0].bias.requires_grad_(False)
    return model


def looks(model: nn.Module) -> list[Any]:
    """Return what a plan may change: gradients, modes, hooks, and what stands in for methods."""
    return [
        [tensor.requires_grad for tensor in model.parameters()],
        [module.training for module in model.modules()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        [sorted(m.__dict__) for m in model.modules()],
    ]


@pytest.mark.parametrize("copied", [False, True])
def test_a_released_model_is_as_it_was_before_the_first_plan(copied: bool) -> None:
    model = made()
    before = looks(model)
    plan = plan_of(model)
    optimizer = torch.optim.AdamW(freezeplan.build_param_groups(model, plan))
    for index in range(3):
        freezeplan.enter_phase(model, optimizer, plan, index)
        take_step(model, optimizer)
    model = copy.deepcopy(model) if copied else model
    assert looks(model) != before
    freezeplan.release(model)
    assert looks(model) == before
    assert model.low[0].bias.grad is None
    model.train()
    assert all(module.training for module in model.modules())
    freezeplan.release(model)


def test_a_plan_after_a_release_starts_from_the_model_as_it_is_then() -> None:
    model = made()
    plan = plan_of(model)
    freezeplan.apply_freeze(model, plan)
    freezeplan.release(model)
    model.low[0].bias.requires_grad_(True)
    assert needs_gradient_as_made(model.low[0].bias)
    freezeplan.apply_freeze(model, plan)
    freezeplan.release(model)
    assert model.low[0].bias.requires_grad


@pytest.mark.parametrize("asked", [False, True])
def test_the_hooks_of_transformers_come_back_if_they_were_asked_for(asked: bool) -> None:
    model = tiny("bert")
    model.activation_checkpointing_enable()
    if not asked:
        model.disable_input_require_grads()
    before = looks(model)
    freezeplan.build_param_groups(model, {"rule": [{"match": "**", "state": "frozen"}]})
    assert held_by(model) is not None and not model.get_input_embeddings()._forward_hooks
    freezeplan.release(model)
    assert len(model.get_input_embeddings()._forward_hooks) == asked
    assert looks(model) == before


def test_what_any_phase_trains_needs_a_gradient_before_wrapping() -> None:
    model = made()
    before = looks(model)
    plan = plan_of(model)
    freezeplan.before_wrapping(model, plan)
    trains = {name for name, tensor in model.named_parameters() if tensor.requires_grad}
    assert trains == set(plan.ever_trained)
    assert looks(model)[1] == before[1]
    freezeplan.release(model)
    assert looks(model) == before
