"""The floating-point operations of a step, counted by torch as the fake step runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from freezeplan.cost.records import Work
from freezeplan.cost.trial import Trial
from freezeplan.plan.stepping import StepCount

Shape = tuple[int, ...]


def measure_work(trial: Trial, objective: str) -> Work:
    """Count one batch's forward and backward pass; nothing that trains has no backward pass."""
    with trial.running(), flop_counter() as counter:
        loss = trial.loss(objective)
        forward = counter.get_total_flops()
        if loss.requires_grad:
            loss.backward()
        total = counter.get_total_flops()
    trial.model.zero_grad(set_to_none=True)
    return Work(forward, total - forward)


def step_work(trial: Trial, works: Mapping[str, Work], count: StepCount) -> Work:
    """Return one optimizer step's work from each objective's batch: their sum, or the mean step where one takes it."""
    joint, turns = trial.train.mixing == "joint", count.turns_per_epoch
    steps = 1 if joint else count.steps_per_epoch
    times = {name: trial.train.accumulation * (1 if joint else turns[name]) for name in works}
    return Work(
        sum(work.forward * times[name] for name, work in works.items()) // steps,
        sum(work.backward * times[name] for name, work in works.items()) // steps,
    )


def flop_counter() -> FlopCounterMode:
    """Return torch's counter with the two attention kernels of the CPU that it has no formula for."""
    ops = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            ops._scaled_dot_product_flash_attention_for_cpu: _attention,
            ops._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        },
    )


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Two matrix products: queries with keys, weights with values."""
    return _product(query, key[-2], key[-1]) + _product(query, key[-2], value[-1])


def _attention_backward(_: Shape, query: Shape, key: Shape, value: Shape, *__: Any, **___: Any) -> int:
    """Five: the weights once more, and the gradients of weights, values, queries and keys."""
    return 3 * _product(query, key[-2], key[-1]) + 2 * _product(query, key[-2], value[-1])


def _product(query: Shape, keys: int, width: int) -> int:
    batch, heads, length, _ = query
    return 2 * batch * heads * length * keys * width
