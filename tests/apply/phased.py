"""A small model with everything that moves on its own, and phases that thaw and freeze it again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from freezeplan.api import compile_plan
from freezeplan.plan.records import Plan

FORCES: dict[str, dict[str, Any]] = {
    "AdamW": {"weight_decay": 0.1},
    "SGD": {"momentum": 0.9, "weight_decay": 0.1},
    "Adagrad": {"weight_decay": 0.1, "initial_accumulator_value": 0.1},
}


class Trunk(nn.Module):
    """Two layers with BatchNorm and dropout behind each, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.low = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))
        self.top = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))
        self.head = nn.Linear(6, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.head(self.top(self.low(inputs)))


def thaws(what: str | list[str], **more: Any) -> dict[str, Any]:
    """Return a rule that makes modules trainable."""
    return {"match": what, "state": "trainable", **more}


def freezes(what: str | list[str]) -> dict[str, Any]:
    """Return a rule that freezes modules."""
    return {"match": what, "state": "frozen"}


def phase(name: str, *rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a phase of some steps."""
    return {"name": name, "steps": 3, "rule": list(rules)} | more


def phased_spec(
    *phases: dict[str, Any], schedule: dict[str, Any] | None = None, **optimizer: Any
) -> dict[str, Any]:
    """Return a spec that trains the head and freezes the rest, and then goes through phases."""
    tables = {"name": "adamw", "lr": 0.05, "no_decay": []} | optimizer
    base = [freezes("**") | {"name": "rest"}, thaws("head", name="head", lr_mult=2.0)]
    return {
        "optimizer": tables,
        "rule": base,
        "phase": list(phases),
        "schedule": schedule or {"name": "constant"},
    }


THAW_AND_FREEZE = (
    phase("head"),
    phase("top", thaws("top", name="top"), freezes("head")),
    phase("all", thaws(["low", "head"], name="low", lr_mult=0.5)),
    phase("top again", freezes(["low", "head"])),
)


def plan_of(model: nn.Module, *phases: dict[str, Any], **more: Any) -> Plan:
    """Compile a plan of these phases, or of those that thaw and freeze every part."""
    return compile_plan(model, phased_spec(*(phases or THAW_AND_FREEZE), **more))


def take_step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int = 0) -> None:
    """Train one step on noise, as a careful loop would."""
    draw = torch.Generator().manual_seed(seed)
    model.train()
    optimizer.zero_grad(set_to_none=True)
    torch.manual_seed(seed)
    model(torch.randn(8, 4, generator=draw)).square().mean().backward()
    optimizer.step()


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: Iterable[int]) -> None:
    """Train a step for each seed."""
    for seed in seeds:
        take_step(model, optimizer, seed)


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of all parameters and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def moved(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Return the names of what is not bit-identical to what it was."""
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
