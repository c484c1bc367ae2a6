"""The files of one checkpoint, without its ``state.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from freezeplan.apply.tensors import all_tensors, own_copy
from freezeplan.runs.checkpoints.optimizer_state import restore_optimizer, save_optimizer
from freezeplan.runs.ledger import Ledger
from freezeplan.runs.metrics_log import MetricsLog

MODEL = "model.safetensors"
LEDGER = "ledger.json"
PLAN = "plan.json"


def save_contents(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    log: MetricsLog,
    ledger: Ledger,
    plan_text: str,
    states: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Write weights and buffers, optimizer state, random numbers, metrics, plan and evidence so far.

    ``states`` are the states of the sources of random numbers of each rank, in the order of the ranks.
    Returns what :func:`load_tensors` needs besides the files.
    """
    tensors = {name: own_copy(tensor) for name, tensor in all_tensors(model).items()}
    save_file(tensors, folder / MODEL, metadata={"format": "pt"})
    more = save_optimizer(optimizer, folder)
    for rank, state in enumerate(states):
        (folder / random_file(rank)).write_text(json.dumps(state), "utf-8")
    (folder / "metrics.jsonl").write_text(log.as_lines(), "utf-8")
    (folder / PLAN).write_text(plan_text, "utf-8")
    (folder / LEDGER).write_text(json.dumps(ledger.as_record()), "utf-8")
    return more


def random_file(rank: int) -> str:
    """Return the name of the file that holds a rank's random numbers.

    >>> random_file(0), random_file(1)
    ('rng.json', 'rng-1.json')
    """
    return f"rng-{rank}.json" if rank else "rng.json"


@torch.no_grad()
def load_tensors(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, more: Mapping[str, Any]
) -> None:
    """Put a checkpoint's weights, buffers and optimizer state in the place of those of a live model."""
    saved, live = load_file(folder / MODEL), all_tensors(model)
    for name, tensor in live.items():
        tensor.copy_(saved[name])
    restore_optimizer(optimizer, folder, more)


def read_plan(folder: Path) -> str:
    """Return the plan that a checkpoint was made under, as the JSON text that was written."""
    return (folder / PLAN).read_text("utf-8")


def read_ledger(folder: Path) -> dict[str, Any]:
    """Return the record of the evidence so far."""
    return json.loads((folder / LEDGER).read_text("utf-8"))
