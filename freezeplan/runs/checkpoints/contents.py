"""The files of one checkpoint, without its ``state.json``."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from freezeplan.apply.tensors import all_tensors, shared_like
from freezeplan.diagnostics.wording import first_line
from freezeplan.models.run_weights import each_weight
from freezeplan.models.sealed import Altered
from freezeplan.plan.document import record_hash
from freezeplan.runs.checkpoints.optimizer_state import restore_optimizer, save_optimizer
from freezeplan.runs.checkpoints.store import Checkpoint, Damaged
from freezeplan.runs.ledger import Ledger, check_record
from freezeplan.runs.position import Position, position_of

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
    for name, tensor in each_weight(run, wanted):
        if name not in live or live[name].shape != tensor.shape:
            raise Altered(f"its tensor `{name}` is none of this model")
        live[name].copy_(shared_like(tensor, live[name]))
    restore_optimizer(optimizer, found.path, found.state["optimizer"])


def check_contents(found: Checkpoint) -> None:
    """Make sure that a checkpoint, whose hashes all fit, holds what a run writes; raises :class:`Damaged`."""
    try:
        for flaw in _flaws(found):
            raise Damaged(f"{flaw} does not hold what a run writes")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, OSError) as error:
        raise Damaged(f"it does not hold what a run writes ({first_line(error)})") from None


def _flaws(found: Checkpoint) -> Iterator[str]:
    state, texts = found.state, TypeAdapter(dict[str, str])
    TypeAdapter(Position).validate_python(position_of(state["position"]).as_record())
    TypeAdapter(dict[str, dict[str, float]]).validate_python(state["validation"])
    for table in ("weights", "buffers"):
        texts.validate_python(state[table])
    for part in ("data", "settings", "surroundings"):
        TypeAdapter(dict[str, Any]).validate_python(state["identity"][part])
    optimizer = state["optimizer"]
    if not all(isinstance(optimizer[key], list) for key in ("parameters", "elsewhere")):
        yield "`optimizer`"
    TypeAdapter(dict[str, Any]).validate_python(optimizer["values"])
    record_hash(json.loads(read_plan(found.path)))
    check_record(read_ledger(found.path))
    if not isinstance(json.loads((found.path / random_file(0)).read_text("utf-8")), dict):
        yield f"`{random_file(0)}`"


def read_plan(folder: Path) -> str:
    """Return the plan that a checkpoint was made under, as the JSON text that was written."""
    return (folder / PLAN).read_text("utf-8")


def read_ledger(folder: Path) -> dict[str, Any]:
    """Return the record of the evidence so far."""
    return json.loads((folder / LEDGER).read_text("utf-8"))
