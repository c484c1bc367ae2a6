"""Measure which schedulers keep the ratios between groups that a plan gives.

``python -m benchmarks.schedule_ratios`` prints two tables; ``--write FILE`` puts them between the lines
``<!-- begin schedule-ratios -->`` and ``<!-- end schedule-ratios -->`` of a Markdown file. Each scheduler runs for
60 steps over two groups whose rates are 1e-4 and 1e-3; a step in which every rate is 0 has no ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch.optim import lr_scheduler
from transformers import Trainer, TrainingArguments, get_scheduler

from freezeplan.api import build_param_groups, compile_plan
from freezeplan.guests.transformers import trainer_guest
from freezeplan.spec.table import ScheduleName
from freezeplan.train.run import train
from tests.train.tiny import save_tiny_bert, toy_data, toy_spec, write_toy_data

STEPS = 60
PLANNED = 10.0
BEGIN, END = "<!-- begin schedule-ratios -->", "<!-- end schedule-ratios -->"
WITHOUT_WARMUP = ("constant", "slanted_triangular")
Rates = dict[str, float]


@dataclass(frozen=True)
class Ratios:
    """The lowest and the highest ratio of the head's rate to the body's over a run."""

    lowest: float
    highest: float

    @property
    def deviation(self) -> float:
        """The largest relative distance from the planned ratio."""
        return max(abs(self.lowest / PLANNED - 1), abs(self.highest / PLANNED - 1))

    @property
    def verdict(self) -> str:
        """Whether the ratio stayed what the plan says, up to rounding."""
        return "kept" if self.deviation < 1e-9 else "**not kept**"

    @property
    def cells(self) -> str:
        """The verdict and both ratios, as cells of a table."""
        return f"{self.verdict} | {self.lowest:.2f} to {self.highest:.2f}"


def ratios_of(seen: Iterable[Rates]) -> Ratios:
    """Return the range of the ratio over the steps that have one."""
    found = [
        rates["head"] / rates["body"] if rates["body"] else float("inf")
        for rates in seen
        if any(rates.values())
    ]
    return Ratios(min(found), max(found))


class Model(torch.nn.Module):
    """A body and a head that a Trainer can train, and a part that thaws later."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
        self.late = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return a loss."""
        return {"loss": (self.head(self.late(self.body(x))).squeeze(-1) - labels).square().mean()}


def spec(schedule: dict[str, Any]) -> dict[str, Any]:
    """Return a spec with two groups, and two phases that share a schedule."""
    rules = [
        {"name": "body", "match": "body", "state": "trainable"},
        {"name": "head", "match": "head", "state": "trainable", "lr_mult": PLANNED},
        {"name": "late", "match": "late", "state": "frozen"},
    ]
    thaw = {"name": "late", "match": "late", "state": "trainable", "lr_mult": 2.0}
    phases = [
        {"name": "one", "steps": STEPS // 3},
        {"name": "two", "steps": STEPS - STEPS // 3, "rule": [thaw]},
    ]
    return {"optimizer": {"lr": 1e-4, "no_decay": []}, "rule": rules, "phase": phases, "schedule": schedule}


def schedule_of(name: str) -> dict[str, Any]:
    """Return a schedule table with a warm-up, where the schedule has one."""
    return {"name": name} | ({} if name in WITHOUT_WARMUP else {"warmup": 0.1})


def in_our_trainer(name: str, toy: Path) -> Ratios:
    """Train a tiny BERT with the bundled trainer; return the ratios of the rates that its steps had."""
    tables = spec(schedule_of(name)) | {"train": {"batch_size": 4}}
    tables["task"] = [{"name": "topic", "data": toy_data(toy, "topic")}]
    for rule, match in zip(tables["rule"], ("backbone", "heads", "@embeddings"), strict=True):
        rule["match"] = match
    tables["phase"][1]["rule"][0]["match"] = "@embeddings"
    with tempfile.TemporaryDirectory() as folder:
        train(toy_spec(toy, **tables), Path(folder) / "run")
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
    steps = [record for line in lines if (record := json.loads(line))["kind"] == "step"]
    assert len(steps) == STEPS
    return ratios_of({rule: record["rates"][rule] for rule in ("body", "head")} for record in steps)


def in_a_stock_trainer(name: str) -> Ratios:
    """Run transformers' Trainer with the plan as its guest; return the ratios of the rates that it logged."""
    model = Model()
    guest = trainer_guest(model, compile_plan(model, spec(schedule_of(name))))
    rows = [{"x": torch.ones(2), "labels": torch.tensor(1.0)}] * 4
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        settings = TrainingArguments(
            folder,
            max_steps=STEPS,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(
            model, settings, train_dataset=rows, optimizers=guest.optimizers, callbacks=[guest.callback]
        )
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    return ratios_of({name: entry[f"lr/{name}"] for name in ("body", "head")} for entry in logged)


Make = Callable[[torch.optim.Optimizer], Any]


def schedulers() -> Iterator[tuple[str, Make]]:
    """Yield torch's schedulers and transformers', each with settings that are in use."""
    torch_has = lr_scheduler
    yield "`LambdaLR`", lambda o: torch_has.LambdaLR(o, lambda step: 1 / (1 + step))
    yield "`MultiplicativeLR`", lambda o: torch_has.MultiplicativeLR(o, lambda step: 0.95)
    yield "`StepLR`", lambda o: torch_has.StepLR(o, 10)
    yield "`MultiStepLR`", lambda o: torch_has.MultiStepLR(o, [20, 40])
    yield "`ConstantLR`", lambda o: torch_has.ConstantLR(o, 0.3, 20)
    yield "`LinearLR`", lambda o: torch_has.LinearLR(o, 0.1, total_iters=20)
    yield "`ExponentialLR`", lambda o: torch_has.ExponentialLR(o, 0.95)
    yield "`PolynomialLR`", lambda o: torch_has.PolynomialLR(o, STEPS)
    yield "`CosineAnnealingLR`", lambda o: torch_has.CosineAnnealingLR(o, STEPS)
    yield "`CosineAnnealingLR`, `eta_min=1e-4`", lambda o: torch_has.CosineAnnealingLR(o, STEPS, eta_min=1e-4)
    restarts = torch_has.CosineAnnealingWarmRestarts
    yield "`CosineAnnealingWarmRestarts`", lambda o: restarts(o, 20)
    yield "`CosineAnnealingWarmRestarts`, `eta_min=1e-4`", lambda o: restarts(o, 20, eta_min=1e-4)
    cycle = torch_has.OneCycleLR
    yield "`OneCycleLR`, `max_lr=1e-3`", lambda o: cycle(o, 1e-3, total_steps=STEPS + 1)
    yield "`OneCycleLR`, one `max_lr` per group", lambda o: cycle(o, per_group(o), total_steps=STEPS + 1)
    yield (
        "`CyclicLR`, `1e-5` to `1e-3`",
        lambda o: torch_has.CyclicLR(o, 1e-5, 1e-3, 10, cycle_momentum=False),
    )
    plateau = torch_has.ReduceLROnPlateau
    yield "`ReduceLROnPlateau`", lambda o: plateau(o, patience=5, factor=0.5)
    yield "`ReduceLROnPlateau`, `min_lr=1e-4`", lambda o: plateau(o, patience=5, factor=0.5, min_lr=1e-4)
    yield "transformers' `linear`, `cosine` …", lambda o: get_scheduler("linear", o, 6, STEPS)
    yield "transformers' `polynomial`", lambda o: get_scheduler("polynomial", o, 6, STEPS)
    floor = {"min_lr": 1e-4}
    yield (
        "transformers' `cosine_with_min_lr`, `min_lr=1e-4`",
        lambda o: get_scheduler("cosine_with_min_lr", o, 6, STEPS, scheduler_specific_kwargs=floor),
    )


def per_group(optimizer: torch.optim.Optimizer) -> list[float]:
    """Return each group's rate."""
    return [group["lr"] for group in optimizer.param_groups]


def in_a_loop(make: Make) -> Ratios:
    """Run a scheduler over the plan's groups in a plain loop; return the ratios."""
    model = Model()
    optimizer = torch.optim.AdamW(build_param_groups(model, spec({"name": "constant"})))
    schedule, seen = make(optimizer), []
    for _ in range(STEPS):
        seen.append({group["name"]: float(group["lr"]) for group in optimizer.param_groups})
        optimizer.step()
        schedule.step(*[1.0] if isinstance(schedule, lr_scheduler.ReduceLROnPlateau) else [])
    return ratios_of(seen)


def tables() -> str:
    """Return both tables as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        return _tables(Path(folder))


def _tables(toy: Path) -> str:
    save_tiny_bert(toy / "bert")
    write_toy_data(toy, train=48)
    head = "| `[schedule] name` | `freezeplan train` | ratio | guest in the Trainer | ratio |\n|---|---|---|---|---|"
    names = [
        f"| `{name}` | {in_our_trainer(name, toy).cells} | {in_a_stock_trainer(name).cells} |"
        for name in sorted(get_args(ScheduleName))
    ]
    other = "| scheduler over the plan's groups | planned ratio 10 | lowest to highest |\n|---|---|---|"
    loops = [f"| {name} | {in_a_loop(make).cells} |" for name, make in schedulers()]
    return "\n".join([head, *names, "", other, *loops])


def with_tables(page: str, text: str) -> str:
    """Return a page with ``text`` between its two marks; raises ``ValueError`` without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no `{BEGIN}` and `{END}`")
    return f"{before}{begin}\n{text}\n{end}{after}"


def main() -> None:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=Path, metavar="FILE")
    page = parser.parse_args().write
    if page is None:
        print(tables())
    else:
        page.write_text(with_tables(page.read_text("utf-8"), tables()), "utf-8")


if __name__ == "__main__":
    main()
