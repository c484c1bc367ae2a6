"""The files of one checkpoint, without its ``state.json``."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from freezeplan.apply.tensors import all_tensors
from freezeplan.models.run_weights import read_weights
from freezeplan.models.sealed import Altered
from freezeplan.runs.checkpoints.optimizer_state import restore_optimizer, save_optimizer
from freezeplan.runs.checkpoints.store import Checkpoint
from freezeplan.runs.ledger import Ledger

LEDGER = "ledger.json"
PLAN = "plan.json"


def save_contents(
    folder: Path,
    optimizer: torch.optim.Optimizer,
    ledger: Ledger,
    plan_text: str,
    states: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Write optimizer state, random numbers, plan and evidence so far: all that the run's folder does not hold.

    ``states`` are the states of the sources of random numbers of each rank, in the order of the ranks.
    Returns what :func:`load_tensors` needs besides the files.
    """
    more = save_optimizer(optimizer, folder)
    for rank, state in enumerate(states):
        (folder / random_file(rank)).write_text(json.dumps(state), "utf-8")
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
    found: Checkpoint,
    run: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    still: Collection[str] = (),
) -> None:
    """Put a checkpoint's weights, buffers and optimizer state in the place of those of a live model.

    Files of ``run`` that are named in ``still`` hold what the model has already. Raises
    :class:`freezeplan.models.sealed.Altered` when a file is not the one that was written, or not of this model.
    """
    files = {**found.state["weights"], **found.state["buffers"]}
    wanted = {file: digest for file, digest in files.items() if file not in still}
    live = all_tensors(model)
    for name, tensor in read_weights(run, wanted).items():
        if name not in live or live[name].shape != tensor.shape:
            raise Altered(f"its tensor `{name}` is none of this model")
        live[name].copy_(tensor)
    restore_optimizer(optimizer, found.path, found.state["optimizer"])


def read_plan(folder: Path) -> str:
    """Return the plan that a checkpoint was made under, as the JSON text that was written."""
    return (folder / PLAN).read_text("utf-8")


def read_ledger(folder: Path) -> dict[str, Any]:
    """Return the record of the evidence so far."""
    return json.loads((folder / LEDGER).read_text("utf-8"))
