"""Compare the predicted peak of each of two processes that share a run with what they really needed.

``python -m benchmarks.peak_per_rank [--json FILE] [--model NAME] [--strategy WAY] [--narrow]`` trains two steps of two
models, with nothing and half of the backbone frozen, at two batch sizes, in two processes that replicate the model and
in two that share out its tensors, and prints predicted bytes, those measured in the process that took more, their
ratio, and the worst. It fails where one is off by more than 10 %. ``--narrow`` keeps weights that never train in
bfloat16. Memory is measured as ``benchmarks.predicted_peak`` does it. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.predicted_peak import (
    FAITHFUL,
    LENGTH,
    MODELS,
    SEED,
    STEPS,
    Case,
    batch_for,
    high_water,
    set_high_water_back,
    set_resident,
)

RANKS, OFF = 2, 0.1
CHOSEN = ("MiniLM", "Qwen3-tiny")
FROZEN = ("nothing", "half")
BATCHES = (8, 32)
WAYS = ("replicate", "shard")


@dataclass(frozen=True)
class SharedCase:
    """Name one training of several processes."""

    model: str
    frozen: str
    batch_size: int
    strategy: str
    narrow: bool = False

    def spec(self) -> Any:
        """Return the spec of this training."""
        spec = Case(self.model, self.frozen, self.batch_size, self.narrow).spec()
        return spec.model_copy(
            update={"train": spec.train.model_copy(update={"strategy": self.strategy, "store": "off"})}
        )


def predict(case: SharedCase) -> tuple[int, int]:
    """Return the predicted bytes of a process's weights, and of its step on top of them."""
    from freezeplan.cost.estimating import estimate_cost
    from freezeplan.models.sources import inventory_for
    from freezeplan.plan import compile_plan

    spec = case.spec()
    plan = compile_plan(inventory_for(spec), spec)
    memory = estimate_cost(spec, plan, length=None if case.model == "ViT" else LENGTH, processes=RANKS)
    found = memory.phases[0].memory
    return found.weights, found.peak - found.weights


def measure_apart(case: SharedCase) -> list[int]:
    """Run one case in two fresh processes; returns by how many bytes the resident memory of each rose at most."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    with tempfile.TemporaryDirectory() as folder:
        order = [sys.executable, "-m", "tests.train.forked", "-m", "benchmarks.peak_per_rank"]
        done = subprocess.run(
            [*order, "--measure", json.dumps(asdict(case)), "--out", folder],
            env={**kept, "OMP_NUM_THREADS": "1", **FAITHFUL},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr)
        return [int((Path(folder) / str(rank)).read_text("utf-8")) for rank in range(RANKS)]


def measure(case: SharedCase, folder: Path) -> None:
    """Train two steps in this process, with the others, and write down by how many bytes its memory rose at most."""
    import torch

    from freezeplan.apply import build_optimizer, fused_option
    from freezeplan.apply.phases import enter_phase
    from freezeplan.inventory.from_module import inventory_of
    from freezeplan.models.loading import load_model
    from freezeplan.outside.memory import give_back_large_blocks
    from freezeplan.plan import compile_plan
    from freezeplan.train.launching import start_accelerator
    from freezeplan.train.strategies.choosing import strategy_for

    spec = case.spec()
    strategy = strategy_for(spec, start_accelerator())
    torch.manual_seed(SEED)
    model, _ = load_model(spec)
    inventory = inventory_of(model)
    plan = compile_plan(inventory, spec)
    set_resident(model)
    model = strategy.placed(model, plan, inventory.stacks)
    # Sharing out has set it for runs, whose smaller blocks are the allocator's margin.
    give_back_large_blocks(int(FAITHFUL["MALLOC_MMAP_THRESHOLD_"]))
    optimizer = build_optimizer(model, plan, **fused_option(model, plan))
    enter_phase(model, optimizer, plan, 0)
    warm(model, strategy)
    before = set_high_water_back()
    for _ in range(STEPS):
        take_step(model, optimizer, strategy, -(-case.batch_size // RANKS), spec.train.clip_norm)
    (folder / str(strategy.ranks.number)).write_text(str(high_water() - before), "utf-8")
    strategy.ranks.wait()


def warm(model: Any, strategy: Any) -> None:
    """Bring code, libraries and the connections into memory: one row, and a tiny optimizer's step."""
    import torch

    tiny = torch.nn.Linear(2, 2)
    for _ in range(2):
        take_backward(model, 1)
        model.zero_grad(set_to_none=True)
    optimizer = torch.optim.AdamW(tiny.parameters())
    tiny(torch.ones(1, 2)).sum().backward()
    strategy.ranks.set_summed_gradients(list(tiny.parameters()))
    optimizer.step()


def take_step(model: Any, optimizer: Any, strategy: Any, rows: int, norm: float | None) -> None:
    """Train one step on both tasks, the way the loop does."""
    optimizer.zero_grad(set_to_none=True)
    take_backward(model, rows)
    trained = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    strategy.sum_gradients(trained)
    if norm is not None:
        strategy.clip(trained, norm)
    optimizer.step()


def take_backward(model: Any, rows: int) -> None:
    """Add up the gradients of a batch of each task."""
    import torch

    for task in model.heads:
        logits = model(task=task, **batch_for(model, rows))
        torch.nn.functional.cross_entropy(logits, torch.ones(rows, dtype=torch.int64)).backward()


def main() -> int:
    """Read the command line and print the table; the status says whether all are within the bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peak_per_rank")
    parser.add_argument("--model", choices=MODELS, action="append", help="only this model; repeatable")
    parser.add_argument("--strategy", choices=WAYS, action="append", help="only this way of sharing")
    parser.add_argument("--json", type=Path, help="also write the numbers to a file")
    parser.add_argument("--narrow", action="store_true", help="keep what never trains in bfloat16")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(SharedCase(**json.loads(asked.measure)), asked.out)
        return 0
    print(
        f"{'model':14}{'frozen':9}{'batch':>6}  {'strategy':11}{'weights':>9}{'step, predicted':>17}", end=""
    )
    print(f"{'measured':>10}{'peak ratio':>12}{'step ratio':>12}   (MiB, each process)", flush=True)
    found = []
    for strategy in asked.strategy or WAYS:
        for model in asked.model or CHOSEN:
            for frozen in FROZEN:
                found += [show(SharedCase(model, frozen, size, strategy, asked.narrow)) for size in BATCHES]
    worst = max(found, key=lambda item: abs(item["ratio"] - 1))
    print(f"worst peak: {100 * (worst['ratio'] - 1):+.1f} % ({worst['model']}, {worst['strategy']})")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))
    return int(abs(worst["ratio"] - 1) > OFF)


def show(case: SharedCase) -> dict[str, Any]:
    """Predict and measure one case, print its line, and return its numbers."""
    weights, step = predict(case)
    measured = max(measure_apart(case))
    ratio, step_ratio = (weights + step) / (weights + measured), step / measured
    sizes = [size / (1 << 20) for size in (weights, step, measured)]
    print(f"{case.model:14}{case.frozen:9}{case.batch_size:6}  {case.strategy:11}", end="")
    print("{:9.1f}{:17.1f}{:10.1f}{:12.3f}{:12.3f}".format(*sizes, ratio, step_ratio), flush=True)
    return asdict(case) | {"weights": weights, "predicted": step, "measured": measured, "ratio": ratio}


if __name__ == "__main__":
    sys.exit(main())
