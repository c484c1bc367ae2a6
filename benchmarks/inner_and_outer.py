"""Train in two processes under DistributedDataParallel (DDP), with the plan given in every way: print what comes of it.

``python -m benchmarks.inner_and_outer`` enters a plan's phases through the model itself (inner) or its wrapper
(outer), before or after wrapping, with and without ``find_unused_parameters``, wrapped once after ``before_wrapping``,
and wrapped again in each phase. For each it prints whether it is refused, and by whom, or the largest difference
between the ranks' weights after all phases, which must be 0.0, and what ``verify`` says of the ranks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import freezeplan
from freezeplan.apply import build_optimizer

ORDERS = ("plan, then wrap", "wrap, then plan", "before_wrapping, wrap, plan", "wrap again in each phase")
THAW = {"name": "thaw", "match": "0", "state": "trainable"}
SPEC: dict[str, Any] = {
    "optimizer": {"name": "sgd", "lr": 0.1, "no_decay": []},
    "schedule": {"name": "constant"},
    "rule": [
        {"name": "body", "match": "0", "state": "frozen"},
        {"name": "head", "match": "1", "state": "trainable"},
    ],
    "phase": [
        {"name": "head", "steps": 3},
        {"name": "all", "steps": 3, "rule": [THAW]},
        {"name": "head again", "steps": 3, "rule": [{"name": "off", "match": "0", "state": "frozen"}]},
    ],
}


def model_and_plan() -> tuple[nn.Module, freezeplan.Plan]:
    """Return two layers with the same random weights on every rank, and the plan."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    return model, freezeplan.compile_plan(model, SPEC)


def take_steps(wrapper: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Train on rows that differ between the ranks."""
    draw = torch.Generator().manual_seed(dist.get_rank() + 1)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        wrapper(torch.randn(8, 4, generator=draw)).square().mean().backward()
        optimizer.step()


def train(order: str, side: str, unused: bool) -> str:
    """Train all phases; returns how far the ranks are apart, and what ``verify`` says."""
    model, plan = model_and_plan()
    if order == ORDERS[0]:
        freezeplan.apply_freeze(model, plan)
    elif order == ORDERS[2]:
        freezeplan.before_wrapping(model, plan)
    wrapper = None if order == ORDERS[3] else DistributedDataParallel(model, find_unused_parameters=unused)
    optimizer = build_optimizer(model, plan)
    for index, phase in enumerate(plan.phases):
        if order == ORDERS[3]:
            wrapper = None
        freezeplan.enter_phase(
            model if side == "inner" or wrapper is None else wrapper, optimizer, plan, index
        )
        wrapper = wrapper or DistributedDataParallel(model, find_unused_parameters=unused)
        take_steps(wrapper, optimizer, phase.length.count)
    freezeplan.verify(model if side == "inner" else wrapper, plan, optimizer, len(plan.phases) - 1)
    return f"{apart(model):.1e}"


def apart(model: nn.Module) -> float:
    """Return the largest difference between the ranks' weights."""
    flat = torch.cat([tensor.detach().flatten() for tensor in model.parameters()])
    found = [torch.empty_like(flat) for _ in range(dist.get_world_size())]
    dist.all_gather(found, flat)
    return float((found[0] - found[1]).abs().max())


def outcome(work: Callable[[], str]) -> str:
    """Return what comes of a training: a difference, a code of ours, or torch's own error."""
    try:
        return work()
    except freezeplan.DiagnosticError as error:
        return error.diagnostics[0].code
    except RuntimeError as error:
        return f"torch: {str(error)[:42]}"


CASES = [(order, side, unused) for order in ORDERS for side in ("inner", "outer") for unused in (False, True)]


def work(folder: Path) -> None:
    """Do one rank's part: one process group for each case, so that none can disturb the next."""
    torch.set_num_threads(1)
    rank, found = int(os.environ["RANK"]), []
    for number, (order, side, unused) in enumerate(CASES):
        store = f"file://{folder / f'store-{number}'}"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
        found.append(outcome(lambda order=order, side=side, unused=unused: train(order, side, unused)))
        dist.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(found))


def outcomes() -> list[tuple[tuple[str, str, bool], list[str]]]:
    """Train all cases in two processes; returns each with what came of it on both ranks."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "benchmarks.inner_and_outer", "--work", name]
        ranks = [
            subprocess.Popen(command, env={**os.environ, "RANK": str(rank), "OMP_NUM_THREADS": "1"})
            for rank in range(2)
        ]
        if any([rank.wait(timeout=300) for rank in ranks]):
            raise RuntimeError("a rank failed")
        both = [json.loads((Path(name) / f"{rank}.json").read_text()) for rank in range(2)]
    return [(case, list(each)) for case, *each in zip(CASES, *both, strict=True)]


def is_right(found: list[str]) -> bool:
    """Whether both ranks ended with the same weights, or both were refused."""
    return all(item == "0.0e+00" for item in found) or not any(item[0].isdigit() for item in found)


def main() -> int:
    """Print the table, or do one rank's part of it."""
    if sys.argv[1:2] == ["--work"]:
        work(Path(sys.argv[2]))
        return 0
    print(f"{'order':<28} {'given':<6} {'find_unused':<12} outcome")
    right = True
    for (order, side, unused), found in outcomes():
        right = right and is_right(found)
        print(f"{order:<28} {side:<6} {unused!s:<12} {' | '.join(dict.fromkeys(found))}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
