"""From the paths that a report is asked of to everything on its page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from os.path import isfile
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from freezeplan.choose.comparison_records import StrategyComparison
from freezeplan.choose.comparison_view import verdict_lines
from freezeplan.choose.measured_advice import read_measurement
from freezeplan.choose.probe_records import ProbeReport
from freezeplan.choose.probe_view import cost_line, verdict
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.models.run_record import run_path
from freezeplan.plan.changes import compare
from freezeplan.plan.comparable import comparable
from freezeplan.plan.document import to_record
from freezeplan.plan.records import Plan
from freezeplan.render.changes import change_lines
from freezeplan.report.folder import MALFORMED
from freezeplan.report.measured import comparison_view, probe_view
from freezeplan.report.records import MeasuredReport, PlanDifferences, Report, RunReport
from freezeplan.report.runs import report_of_run

COMPARISON = "comparison.json"
UNFINISHED = "the comparison is not finished: the same command goes on from where it stopped"
Pricing = Callable[[Path, Plan], Mapping[str, Any]]


def report_paths(sources: Any) -> list[Path]:
    """Return one path, or several, that a caller gave; raises ``DiagnosticError`` (FP520) for what is none."""
    several = isinstance(sources, Sequence) and not isinstance(sources, str | bytes)
    return [run_path(source) for source in (sources if several else [sources])]


def read_report(paths: Sequence[Path], pricing: Pricing | None = None) -> Report:
    """Read runs, comparisons and probes, each by what it is: the folder of a run, that of a comparison, or a file.

    ``pricing`` returns the record of what a run costs by prediction, given its folder and its plan; without it, none
    is told. Raises ``DiagnosticError``: FP520 for what is no run, FP521 for one whose ``run.json`` cannot be
    read, FP597 for a file that neither ``probe`` nor ``compare`` wrote.
    """
    if not paths:
        raise DiagnosticError([diagnostic("FP520", "there is nothing to report on", help="name a run")])
    runs: list[tuple[RunReport, Plan | None]] = []
    comparisons: list[MeasuredReport] = []
    probes: list[MeasuredReport] = []
    for path in paths:
        file = path / COMPARISON if isfile(path / COMPARISON) else path
        if isfile(file):
            (comparisons if _is_comparison(found := _measured(file)) else probes).append(found)
        else:
            runs.append(_run(path, pricing))
    named = _told_apart([report for report, _ in runs])
    return Report(
        runs=tuple(named),
        differences=tuple(_differences(named, [plan for _, plan in runs])),
        comparisons=tuple(comparisons),
        probes=tuple(probes),
    )


def _run(path: Path, pricing: Pricing | None) -> tuple[RunReport, Plan | None]:
    report, plan = report_of_run(path)
    if pricing is None or plan is None:
        return report, plan
    try:
        return replace(report, cost=pricing(path, plan)), plan
    except DiagnosticError as error:
        reason = f"its cost cannot be predicted here: {error.diagnostics[0].message}"
        return replace(report, faults=(*report.faults, reason)), plan


def _told_apart(reports: Sequence[RunReport]) -> list[RunReport]:
    """Call runs by their folders whose names are those of others."""
    names = [report.name for report in reports]
    return [
        replace(report, name=report.folder) if names.count(report.name) > 1 else report for report in reports
    ]


def _differences(reports: Sequence[RunReport], plans: Sequence[Plan | None]) -> Iterator[PlanDifferences]:
    """Yield what the plans of all runs but the first do otherwise than that of the first."""
    for report, plan in zip(reports[1:], plans[1:], strict=True):
        if plan is None or plans[0] is None:
            yield PlanDifferences(report.name, (), "one of the two plans cannot be read")
        else:
            sides = (comparable(to_record(item)) for item in (plans[0], plan))
            yield PlanDifferences(report.name, tuple(change_lines(compare(*sides))))


def _is_comparison(found: MeasuredReport) -> bool:
    return "trials" in found.record


def _measured(file: Path) -> MeasuredReport:
    """Read what a comparison or a probe wrote; raises ``DiagnosticError`` (FP597)."""
    found = read_measurement(file)
    name = file.absolute().parent.name if file.name == COMPARISON else file.stem
    try:
        checked: Any = TypeAdapter(type(found)).validate_python(asdict(found))
        made = MeasuredReport(name, file.as_posix(), tuple(_lines(checked)), checked.to_record())
        (comparison_view if _is_comparison(made) else probe_view)(made, name)  # what it holds can be drawn
        return made
    except MALFORMED as error:
        message = f"`{file}` does not hold what `probe` or `compare` writes ({type(error).__name__})"
        raise DiagnosticError([diagnostic("FP597", message, help="run the command again")]) from None


def _lines(found: StrategyComparison | ProbeReport) -> Iterator[str]:
    if isinstance(found, StrategyComparison):
        yield from verdict_lines(found) if found.verdict else [UNFINISHED]
        return
    for task in found.tasks:
        for line in verdict(task, len(found.layers)):
            yield f"{task.task}: {line}"
    for item in found.left_out:
        yield f"task {item.task} is left out: {item.reason}"
    yield cost_line(found)
