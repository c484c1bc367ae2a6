"""What a run took, phase by phase, beside what it was predicted to take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from freezeplan.diagnostics.wording import NOTHING, counted, format_bytes, format_count, format_flops
from freezeplan.report.records import ReportedPhase, RunReport
from freezeplan.report.tables import PageTable

Record = Mapping[str, Any]
MEASURED = ("phase", "steps", "seconds", "CPU s", "steps per second", "most memory", "optimizer state")
PREDICTED = ("peak of a step", "work of a step", "work of an epoch", "from the store", "store")


def cost_table(run: RunReport) -> PageTable:
    """Return a row per phase: what was measured, then what was predicted."""
    predicted = {item["name"]: item for item in run.cost["phases"]} if run.cost else {}
    heads = (*MEASURED, *(PREDICTED if predicted else ()))
    rows = tuple(
        (*_measured(number, phase), *(_predicted(predicted.get(phase.name)) if predicted else ()))
        for number, phase in enumerate(run.phases, 1)
    )
    measured = (
        "Seconds and most memory are measured: evaluation and saving, libraries and phases before included"
    )
    caption = f"{measured}; the rest is predicted"
    return PageTable(caption, heads, rows, tuple(range(1, len(heads))))


def _measured(number: int, phase: ReportedPhase) -> tuple[str, ...]:
    seconds = phase.seconds
    pace = phase.steps / seconds if seconds else None
    return (
        f"{number} {phase.name}",
        format_count(phase.steps),
        NOTHING if seconds is None else f"{seconds:.1f}",
        NOTHING if phase.cpu_seconds is None else f"{phase.cpu_seconds:.1f}",
        NOTHING if pace is None else f"{pace:.3g}",
        format_bytes(phase.peak_bytes) if phase.peak_bytes else NOTHING,
        format_bytes(phase.optimizer_state_bytes),
    )


def _predicted(cost: Record | None) -> tuple[str, ...]:
    if cost is None:
        return (NOTHING,) * len(PREDICTED)
    store = cost["store"]
    return (
        format_bytes(cost["bytes"]["peak"]),
        format_flops(cost["flops_per_step"]["total"]),
        format_flops(cost["flops_per_epoch"]),
        format_flops(store["epoch"]) if store else NOTHING,
        format_bytes(store["bytes"]) if store else NOTHING,
    )


def cost_notes(run: RunReport) -> Iterator[str]:
    """Yield what stands below the costs."""
    if run.seconds is not None:
        yield f"{run.seconds:.1f} s over all processes that worked on it, {_trained(run)}"
    if run.cost is None:
        yield "`freezeplan report --cost` adds the bytes and FLOPs that are predicted for each phase"
        return
    yield from run.cost["assumptions"]
    for phase in run.cost["phases"]:
        if phase["no_store"]:
            yield f"no store in {phase['name']}: {phase['no_store']}"


def _trained(run: RunReport) -> str:
    if run.plan is None:
        return counted(sum(phase.steps for phase in run.phases), "step")
    return f"{format_count(run.plan.trainable)} of {format_count(run.plan.parameters)} parameters trained"
