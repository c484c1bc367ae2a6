"""Fused steps: asked for where torch has them, and the same numbers up to rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from freezeplan.api import compile_plan
from freezeplan.apply import build_optimizer, fused_option
from freezeplan.inventory.from_module import inventory_of
from freezeplan.plan.records import Plan

RULE = [{"match": "**", "state": "trainable"}]


def model_and_plan(optimizer: str) -> tuple[nn.Module, Plan]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    plan = compile_plan(inventory_of(model), {"rule": RULE, "optimizer": {"name": optimizer, "lr": 0.01}})
    return model, plan


def trained(optimizer: str, *, fused: bool) -> list[torch.Tensor]:
    model, plan = model_and_plan(optimizer)
    made = build_optimizer(model, plan, **(fused_option(model, plan) if fused else {}))
    assert bool(made.param_groups[0].get("fused")) is fused
    for _ in range(3):
        made.zero_grad()
        model(torch.ones(3, 4)).square().sum().backward()
        made.step()
    return [tensor.detach() for tensor in model.parameters()]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adagrad"])
def test_a_fused_step_is_the_same_step(optimizer: str) -> None:
    pairs = zip(trained(optimizer, fused=True), trained(optimizer, fused=False), strict=True)
    assert max(float((left - right).abs().max()) for left, right in pairs) <= 1e-6


def test_momentum_of_sgd_is_not_fused_for_torch_takes_no_late_comer() -> None:
    tensors = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    fused = torch.optim.SGD(tensors, lr=0.1, momentum=0.9, fused=True)
    tensors[0].grad = torch.ones(2)
    fused.step()
    tensors[1].grad = torch.ones(2)
    with pytest.raises(TypeError):
        fused.step()
    model, _ = model_and_plan("sgd")
    rates = {"name": "sgd", "lr": 0.01}
    rule = [{**RULE[0], "momentum": 0.9}]
    plan = compile_plan(inventory_of(model), {"rule": rule, "optimizer": rates})
    assert fused_option(model, plan) == {}


@pytest.mark.parametrize("optimizer", ["rmsprop", "nadam", "adamax"])
def test_what_torch_cannot_fuse_is_left_alone(optimizer: str) -> None:
    assert fused_option(*model_and_plan(optimizer)) == {}
