"""Small models on fake tensors, whose bytes and FLOPs can be worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from freezeplan.api import compile_plan
from freezeplan.apply import build_optimizer
from freezeplan.apply.phases import enter_phase
from freezeplan.cost.fakes import set_fake_tensors
from freezeplan.cost.inputs import Inputs
from freezeplan.cost.memory import measure_memory
from freezeplan.cost.records import Memory
from freezeplan.cost.trial import Trial
from freezeplan.spec.tables import TrainTable
from freezeplan.tasks import TASK_KINDS

ROWS = 2


@dataclass(frozen=True)
class Vectors(Inputs):
    """Feed vectors of ``length`` numbers to a chain of layers."""

    def batch(self, rows: int) -> dict[str, torch.Tensor]:
        return {"input": torch.empty(rows, self.length or 1)}


def vectors(length: int) -> Vectors:
    return Vectors((), length, None, "vectors")


def rules(*frozen: str) -> list[dict[str, Any]]:
    """Return rules under which everything trains but the modules named (``**``: all of them)."""
    if frozen == ("**",):
        return [{"match": "**", "state": "frozen"}]
    found: list[dict[str, Any]] = [{"name": "all", "match": "**", "state": "trainable"}]
    return found + [{"match": path, "state": "frozen"} for path in frozen]


def trial_of(model: nn.Module, inputs: Inputs, tasks: tuple[str, ...] | None = None, **more: Any) -> Trial:
    """Put a model on fake tensors; keywords are those of ``[train]``, and ``evaluates``."""
    mode, evaluates = FakeTensorMode(), more.pop("evaluates", False)
    set_fake_tensors(model, mode)
    train = TrainTable.model_validate({"clip_norm": None, **more})
    kinds = None if tasks is None else {name: TASK_KINDS["classification"] for name in tasks}
    return Trial(model, mode, inputs, kinds, train, ROWS, evaluates)


def memory_of(trial: Trial, frozen: tuple[str, ...] = (), **optimizer: Any) -> Memory:
    """Freeze some modules, and measure the steps of what remains."""
    spec = {"rule": rules(*frozen), "optimizer": {"no_decay": [], **optimizer}}
    plan = compile_plan(trial.model, spec)
    with trial.running():
        built = build_optimizer(trial.model, plan)
        enter_phase(trial.model, built, plan, 0)
    return measure_memory(trial, built, trial.learning())
