"""What a probe or a comparison says of a plan, each sentence with what it rests on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezeplan.choose.comparison_records import StrategyComparison, comparison_from_record
from freezeplan.choose.comparison_view import verdict_lines
from freezeplan.choose.probe_records import ProbeReport, TaskProbe, probe_from_record
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import counted
from freezeplan.plan.records import Plan

ONE_ERROR = (
    "the rule of one standard error: Breiman et al., Classification and Regression Trees, 1984, section 3.4.3"
)
FREEZE_LOWER = (
    "lower layers change least in fine-tuning: Lee et al., What Would Elsa Do?, 2019, "
    "https://arxiv.org/abs/1911.03090"
)
THAW_DOWN = (
    "from the top down: Howard and Ruder, Universal Language Model Fine-tuning, 2018, "
    "https://arxiv.org/abs/1801.06146"
)
NO_NETWORK = "a frozen backbone gives no more than its features hold; a probe of them bounds a linear head"
BY_RUNS = "runs of all candidates on the same rows, in the folder of the comparison"


@dataclass(frozen=True)
class MeasuredAdvice:
    """Say what follows from a measurement, and what that rests on."""

    text: str
    source: str


def advice_from(path: Path, plan: Plan) -> list[MeasuredAdvice]:
    """Return what the file of a probe or a comparison says of a plan.

    Raises ``DiagnosticError`` (FP597) for a file that is neither, or that is of a model with other layers.
    """
    found = read_measurement(path)
    if isinstance(found, StrategyComparison):
        return list(_of_comparison(found, path))
    return list(_of_probe(found, plan, path))


def read_measurement(path: Path) -> ProbeReport | StrategyComparison:
    """Read the file of a probe or a comparison; raises ``DiagnosticError`` (FP597) for any other."""
    try:
        record: Any = json.loads(path.read_text("utf-8"))
        is_comparison = isinstance(record, dict) and "trials" in record
        return comparison_from_record(record) if is_comparison else probe_from_record(record)
    except (OSError, ValueError, RecursionError) as error:
        message = f"`{path}` is no file of `probe` or `compare`: {error}"
        advice = "name what `probe --out FILE` wrote, or `comparison.json` in the folder of a comparison"
        raise DiagnosticError([diagnostic("FP597", message, help=advice)]) from None


def _of_probe(report: ProbeReport, plan: Plan, path: Path) -> Iterator[MeasuredAdvice]:
    prefixes = [phase.frozen_prefix for phase in plan.phases]
    known = {prefix.of for prefix in prefixes if prefix.of}
    if known and known != {len(report.layers)}:
        message = (
            f"`{path}` is of a model of {counted(len(report.layers), 'layer')}: the plan's has {max(known)}"
        )
        raise DiagnosticError([diagnostic("FP597", message, help="probe the model of this spec")])
    frozen = min(prefix.depth for prefix in prefixes)
    for task in report.tasks:
        yield _about_depth(task, min(frozen, len(report.layers)), len(report.layers))
        yield from _about_baselines(task)


def _about_depth(task: TaskProbe, frozen: int, layers: int) -> MeasuredAdvice:
    enough = task.at(task.enough)
    lead = f"{task.task}: features stop getting better after {enough.depth} of {counted(layers, 'layer')}"
    now = f"the plan keeps {frozen} frozen throughout"
    if frozen == enough.depth:
        return MeasuredAdvice(f"{lead}, and {now}", ONE_ERROR)
    if frozen < enough.depth:
        what = f"with little data or a small budget, freeze `@layers[:{enough.depth}]` first"
        return MeasuredAdvice(f"{lead}, and {now}: {what}", FREEZE_LOWER)
    what = f"where results lack, thaw `@layers[{enough.depth}:]` first, from the top"
    return MeasuredAdvice(f"{lead}, and {now}: {what}", THAW_DOWN)


def _about_baselines(task: TaskProbe) -> Iterator[MeasuredAdvice]:
    best = task.at(task.best)
    for item in task.baselines:
        if item.score >= best.score - best.error:
            text = f"{task.task}: {item.name} does as well without a network ({item.score:.3f}): thaw, or do without"
            yield MeasuredAdvice(text, NO_NETWORK)


def _of_comparison(found: StrategyComparison, path: Path) -> Iterator[MeasuredAdvice]:
    if found.verdict is None:
        yield MeasuredAdvice("the comparison is not finished: the same command goes on", BY_RUNS)
        return
    lines = list(verdict_lines(found))
    yield MeasuredAdvice(
        "; ".join(line for line in lines if not line.startswith(("*", "left out", "not tried"))), BY_RUNS
    )
    chosen = next(item for item in found.candidates if item.name == found.verdict.chosen)
    yield MeasuredAdvice(f"the spec of {chosen.name} is {path.parent / chosen.spec}", ONE_ERROR)
