"""Run optimizers from elsewhere through three phases: what moves, what they keep, how large the first step is.

``python -m benchmarks.elsewhere_optimizers`` runs each of ``OPTIMIZERS`` whose package is installed over a small
transformer encoder: the head alone, the upper layer with it, all but the embeddings, each of 25 steps. It prints a
table; a package that is absent is said. ``--only NAME`` runs some. The exit status is 1 where one fails:

- *moved*: in each phase the tensors that moved are those that the plan trains;
- *defaults*: what the constructor sets, and the spec does not, is in every group what it is without a plan;
- *first*: the first update of every tensor that thaws, as a root mean square over its elements, is at most twice
  its rate, or twice what a new optimizer of the class does there, where that is more (*new*: LAMB's and CAME's own
  first steps are many times their rates);
- *resumed*: saved after the second phase and restored into a new optimizer, as the bundled trainer does, it ends with
  the same bits.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import freezeplan
from benchmarks.timm_models import import_timm
from freezeplan.apply import build_optimizer, enter_phase, verify
from freezeplan.apply.elsewhere import optimizer_class
from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.records import Plan
from freezeplan.runs.checkpoints.optimizer_state import restore_optimizer, save_optimizer

STEPS = 25
NOT_SAVED = "no checkpoint"
MOST = 2.0
Batch = tuple[torch.Tensor, torch.Tensor]
SET_BY_THE_PLAN = {"params", "param_names", "name", "lr", "weight_decay", "initial_lr"}


@dataclass(frozen=True)
class Foreign:
    """Name an optimizer, with the options that its class cannot do without here."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    lr: float = 1e-3


OPTIMIZERS = (
    Foreign("lion_pytorch:Lion"),
    Foreign("schedulefree:AdamWScheduleFree"),
    Foreign("schedulefree:SGDScheduleFree"),
    Foreign("schedulefree:RAdamScheduleFree"),
    Foreign("pytorch_optimizer:Lamb"),
    Foreign("pytorch_optimizer:StableAdamW"),
    Foreign("pytorch_optimizer:AdaBelief"),
    Foreign("pytorch_optimizer:ADOPT"),
    Foreign("pytorch_optimizer:Tiger"),
    Foreign("torch_optimizer:Yogi"),
    Foreign("torch_optimizer:DiffGrad"),
    Foreign("torch_optimizer:AdaBound"),
    Foreign("prodigyopt:Prodigy", lr=1.0),
    Foreign("adabelief_pytorch:AdaBelief", {"print_change_log": False}),
    Foreign("came_pytorch:CAME"),
    Foreign("adan_pytorch:Adan"),
    Foreign("galore_torch:GaLoreAdamW"),
    Foreign("apollo_torch:APOLLOAdamW"),
    Foreign("dadaptation:DAdaptAdam", lr=1.0),
    Foreign("dadaptation:DAdaptLion", lr=1.0),
    Foreign("bitsandbytes.optim:AdamW8bit"),
    Foreign("bitsandbytes.optim:Lion"),
    Foreign("pytorch_ranger:Ranger"),
    Foreign("timm.optim:Lion"),
    Foreign("timm.optim:Lamb"),
    Foreign("timm.optim:Adan"),
    Foreign("timm.optim:Adopt"),
    Foreign("timm.optim:Mars"),
    Foreign("timm.optim:LaProp"),
    Foreign("timm.optim:NAdamW"),
    Foreign("timm.optim.kron:Kron"),
    Foreign("transformers.optimization:Adafactor", {"relative_step": False, "scale_parameter": False}),
)


class Encoder(nn.Module):
    """Two layers of a transformer encoder over tokens, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.tokens = nn.Embedding(20, 16)
        layer = [nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True) for _ in range(2)]
        self.layers = nn.ModuleList(layer)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        states = self.tokens(tokens)
        for layer in self.layers:
            states = layer(states)
        return self.head(states.mean(1))


@dataclass
class Outcome:
    """Say what came out of one optimizer: an empty text where all is right."""

    name: str
    moved: str = ""
    defaults: str = ""
    first: tuple[float, float] = (0.0, 0.0)
    refused: str = ""
    resumed: str = ""

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong with it."""
        wrong = self.moved or self.defaults or self.refused or self.resumed not in ("", NOT_SAVED)
        return not wrong and self.first[0] <= MOST * max(1.0, self.first[1])


def spec_of(foreign: Foreign, weight_decay: float) -> dict[str, Any]:
    """Return a spec in three phases for an optimizer."""
    table = {
        "class": foreign.name,
        "lr": foreign.lr,
        "options": foreign.options,
        "weight_decay": weight_decay,
    }
    thaw = {"state": "trainable"}
    return {
        "optimizer": table,
        "schedule": {"name": "constant"},
        "rule": [{"match": "**", "state": "frozen"}, {"match": "head", **thaw}],
        "phase": [
            {"name": "head", "steps": STEPS},
            {"name": "top", "steps": STEPS, "rule": [{"match": "layers.1", **thaw}]},
            {"name": "all", "steps": STEPS, "rule": [{"match": "layers.0", **thaw}]},
        ],
    }


def run(foreign: Foreign, weight_decay: float = 0.01) -> Outcome:
    """Run one optimizer through the phases."""
    model, outcome = Encoder(), Outcome(foreign.name)
    plan = freezeplan.compile_plan(model, spec_of(foreign, weight_decay))
    try:
        optimizer = build_optimizer(model, plan)
    except DiagnosticError as error:
        if "has no weight decay" in str(error) and weight_decay:
            return run(foreign, 0.0)
        outcome.refused = error.diagnostics[0].message
        return outcome
    outcome.defaults = ", ".join(changed_defaults(plan, foreign, optimizer))
    generator = torch.Generator().manual_seed(1)
    data = torch.randint(20, (32, 6), generator=generator), torch.randint(3, (32,), generator=generator)
    for index in range(len(plan.phases)):
        moved, first = run_phase(model, optimizer, plan, index, foreign, data)
        outcome.first = max(outcome.first, first, key=lambda pair: pair[0] / max(1.0, pair[1]))
        if index == len(plan.phases) - 2:
            stopped = copy.deepcopy(model), copy.deepcopy(optimizer)
        if odd := sorted(moved ^ set(plan.names(index, trainable=True))):
            outcome.moved += f"{plan.phases[index].name}: {len(odd)} tensors ({odd[0]}) "
    try:
        again = restored(stopped[0], plan, *saved(stopped[1]))
        run_phase(stopped[0], again, plan, len(plan.phases) - 1, foreign, data)
        outcome.resumed = "" if same(model, stopped[0]) else "other bits"
    except TypeError:  # JSON takes numbers only: the bundled trainer refuses such a class (FP402)
        outcome.resumed = NOT_SAVED
    return outcome


def saved(optimizer: Any) -> tuple[tempfile.TemporaryDirectory[str], dict[str, Any]]:
    """Write an optimizer's state as a checkpoint does; returns the folder and what goes beside it."""
    folder = tempfile.TemporaryDirectory()
    return folder, json.loads(json.dumps(save_optimizer(optimizer, Path(folder.name))))


def restored(
    model: nn.Module, plan: Plan, folder: tempfile.TemporaryDirectory[str], more: dict[str, Any]
) -> Any:
    """Return a new optimizer over a model with the state that was saved."""
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, len(plan.phases) - 2)
    restore_optimizer(optimizer, Path(folder.name), more)
    return optimizer


def same(one: nn.Module, other: nn.Module) -> bool:
    """Tell whether two models have the same bits."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(own, its) for own, its in pairs)


def run_phase(
    model: nn.Module, optimizer: Any, plan: Plan, index: int, foreign: Foreign, data: Batch
) -> tuple[set[str], tuple[float, float]]:
    """Train a phase; returns the names that moved, and the first update of what thawed over its rate.

    Of the tensors it is the one whose update is the largest against that of a new optimizer, which comes second.
    """
    enter_phase(model, optimizer, plan, index)
    verify(model, plan, optimizer, index)
    new = first_updates(copy.deepcopy(model), optimizer, foreign, data)
    getattr(optimizer, "train", lambda: None)()
    start = values_of(model)
    step(model, optimizer, data)
    own = updates(model, start, rates_of(optimizer))
    for _ in range(STEPS - 1):
        step(model, optimizer, data)
    moved = {name for name, now in values_of(model).items() if not torch.equal(now, start[name])}
    pairs = [(own[name], new[name]) for name in plan.phases[index].thawed]
    return moved, max(pairs, key=lambda pair: pair[0] / max(1.0, pair[1]), default=(0.0, 0.0))


def step(model: nn.Module, optimizer: Any, data: Batch) -> None:
    """Take one step."""
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(data[0]), data[1]).backward()
    optimizer.step()


def values_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of all tensors, by name."""
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def rates_of(optimizer: Any) -> dict[str, float]:
    """Return the rate of each tensor, by name."""
    return {name: group["lr"] for group in optimizer.param_groups for name in group["param_names"]}


def updates(model: nn.Module, start: dict[str, torch.Tensor], rates: dict[str, float]) -> dict[str, float]:
    """Return the root mean square of what each tensor moved, over its rate."""
    moved = {
        name: (now - start[name]).square().mean().sqrt().item() for name, now in values_of(model).items()
    }
    return {name: moved[name] / rate for name, rate in rates.items() if rate}


def first_updates(model: nn.Module, optimizer: Any, foreign: Foreign, data: Batch) -> dict[str, float]:
    """Return what a new optimizer of the class does in its first step at the same rates."""
    tensors = dict(model.named_parameters())
    groups = [
        {"params": [tensors[name] for name in group["param_names"]], "lr": group["lr"]}
        | {key: group[key] for key in ("weight_decay",) if key in optimizer.defaults}
        for group in optimizer.param_groups
        if group["lr"]
    ]
    new = type(optimizer)(groups, lr=foreign.lr, **foreign.options)
    getattr(new, "train", lambda: None)()
    start = values_of(model)
    step(model, new, data)
    return updates(model, start, rates_of(optimizer))


def changed_defaults(plan: Plan, foreign: Foreign, optimizer: Any) -> Iterable[str]:
    """Yield the keys of groups that differ from those of the class over the same tensors without a plan."""
    kind: Any = optimizer_class(plan.optimizers[0])
    groups = [{"params": list(group["params"])} for group in optimizer.param_groups]
    bare = kind(groups, lr=foreign.lr, **foreign.options)
    for own, other in zip(optimizer.param_groups, bare.param_groups, strict=True):
        for key in sorted((own.keys() | other.keys()) - SET_BY_THE_PLAN):
            if own.get(key) != other.get(key):
                yield f"{key}: {own.get(key)} for {other.get(key)}"


def outcome_of(foreign: Foreign) -> Outcome:
    """Run one optimizer quietly; a failure is an outcome."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            return run(foreign)
        except Exception as error:  # what a foreign class raises is the finding
            return Outcome(foreign.name, refused=f"{type(error).__name__}: {error}")


def main() -> int:
    """Run them all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", metavar="NAME", help="run those with NAME in their names")
    asked = parser.parse_args().only
    table = Table(
        "optimizer", "moved = planned", "defaults kept", "first update / rate", "new", "resumed", ""
    )
    right = failed = 0
    import_timm()
    for foreign in OPTIMIZERS:
        if asked and not any(name in foreign.name for name in asked):
            continue
        found = outcome_of(foreign)
        absent = "is not installed" in found.refused
        right, failed = right + found.is_right, failed + (not found.is_right and not absent)
        cells = [text or "yes" for text in (found.moved, found.defaults)]
        sizes = [f"{size:.2f}" for size in found.first]
        shown = ["-"] * 5 if found.refused else [*cells, *sizes, found.resumed or "yes"]
        table.add_row(found.name, *shown, found.refused or ("" if found.is_right else "WRONG"))
    Console(width=150).print(table)
    print(f"{right} right, {failed} wrong, of {len(OPTIMIZERS)}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
