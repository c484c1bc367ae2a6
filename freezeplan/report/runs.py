"""One run as a report tells it, from the records in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from freezeplan.diagnostics.wording import counted
from freezeplan.models.run_record import file_of
from freezeplan.models.sealed import Altered, read_sealed
from freezeplan.plan.reading import plan_from_json
from freezeplan.plan.records import Plan
from freezeplan.render.schedule import schedule_facts
from freezeplan.render.summary import model_line, plan_facts, trained_line
from freezeplan.report.course import course_of
from freezeplan.report.folder import EVIDENCE, LOG, PLAN, SCORES, TIMES, ReadFolder, read_folder, whole
from freezeplan.report.grid import grid_rows
from freezeplan.report.proved import proof_of, reported_phases
from freezeplan.report.records import Fact, ReportedPlan, RunReport
from freezeplan.report.scored import class_scores, final_scores

Record = Mapping[str, Any]
FINISHED = "finished"
MEASURED: dict[str, Callable[[Any], Any]] = {"seconds": float, "cpu_seconds": float, "peak_bytes": whole}
STANDING = {
    FINISHED: "finished",
    "interrupted": "interrupted",
    "running": "not finished: it is running, or its process was killed",
    "failed": "failed",
}
SURROUNDINGS = {
    "precision": "precision",
    "dtype": "weights held in",
    "frozen_dtype": "frozen weights held in",
    "input": "input",
    "max_length": "longest input",
    "eval_batch_size": "rows at once in an evaluation",
    "pooling": "pooling",
}


def report_of_run(path: Path, cost: Record | None = None) -> tuple[RunReport, Plan | None]:
    """Read what a run's folder tells, and its plan; ``cost`` is the record of what it was predicted to cost.

    What is missing or damaged is named in ``faults``, and left out. Raises ``DiagnosticError``: FP520 where there is
    no run, FP521 where not even its ``run.json`` can be read.
    """
    folder = read_folder(path)
    marker, text = folder.marker, folder.text(PLAN)
    plan = None if text is None else folder.part(PLAN, lambda: plan_from_json(text, PLAN))
    evidence = folder.record(EVIDENCE, expected=_is_listed(marker, EVIDENCE)) or {}
    full = folder.record(SCORES, expected=_is_listed(marker, SCORES))
    log, times = folder.log(), _times(folder)
    report = RunReport(
        name=folder.home.absolute().name,
        folder=path.as_posix(),
        status=str(marker.get("status", FINISHED)),
        standing=_standing(marker),
        model=plan.model if plan else "",
        facts=tuple(_facts(marker)),
        plan=folder.part(PLAN, lambda: _plan(plan)) if plan else None,
        phases=folder.part(EVIDENCE, lambda: tuple(reported_phases(plan, evidence, times))) or (),
        course=folder.part(LOG, lambda: course_of(log, str(marker.get("phase", "")))),
        scores=folder.part(SCORES, lambda: final_scores(marker, full)) or (),
        classes=folder.part(SCORES, lambda: class_scores(full)) or (),
        proof=folder.part(EVIDENCE, lambda: proof_of(evidence)) if evidence else None,
        seconds=sum(times["seconds"].values()) if times.get("seconds") else None,
        cost=cost,
        environment=tuple(_environment(marker)),
        faults=tuple(dict.fromkeys(folder.faults)),
    )
    return report, plan


def _is_listed(marker: Record, name: str) -> bool:
    files = marker.get("files")
    return isinstance(files, dict) and name in files


def _times(folder: ReadFolder) -> dict[str, dict[str, Any]]:
    try:
        found = read_sealed(file_of(folder.home, TIMES))
    except Altered as error:
        folder.faults.append(str(error))
        return {}
    return (
        folder.part(TIMES, lambda: {what: _of_phases(found, what, kind) for what, kind in MEASURED.items()})
        or {}
    )


def _of_phases(times: Record, what: str, kind: Callable[[Any], Any]) -> dict[str, Any]:
    """Return what was measured of each phase; a run of before may not have measured it."""
    return {str(phase): kind(value) for phase, value in times.get(what, {}).items()}


def _standing(marker: Record) -> str:
    status = str(marker.get("status", FINISHED))
    words = STANDING.get(status, status)
    phase = marker.get("phase")
    where = f"epoch {marker.get('epoch')} of {marker.get('epochs')}, step {marker.get('step')}"
    inside = f", phase `{phase}`" if status != FINISHED and phase else ""
    return f"{words}; saved at {where}{inside}"


def _facts(marker: Record) -> Iterator[Fact]:
    tasks = marker.get("tasks")
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        labels = task.get("labels") if isinstance(task, dict) else None
        count = f", {counted(len(labels), 'label')}" if isinstance(labels, list) and labels else ""
        kind = str(task.get("kind", "classification")) if isinstance(task, dict) else ""
        yield f"task {name}", f"{kind}{count}"
    if marker.get("ended"):
        yield "ended early", str(marker["ended"])
    best = marker.get("best")
    if isinstance(best, dict):
        yield "best checkpoint", f"{best.get('checkpoint')}, {best.get('metric')} {best.get('value')}"


def _plan(plan: Plan) -> ReportedPlan:
    facts = [
        ("model", model_line(plan)),
        ("trained", trained_line(plan)),
        *plan_facts(plan),
        *schedule_facts(plan),
    ]
    return ReportedPlan(
        rows=grid_rows(plan),
        facts=tuple(facts),
        advice=tuple(f"{item.code}: {item.message}" for item in plan.diagnostics),
        parameters=plan.numel,
        trainable=sum(group.numel for group in plan.groups),
    )


def _environment(marker: Record) -> Iterator[Fact]:
    libraries = marker.get("libraries")
    for name, version in libraries.items() if isinstance(libraries, dict) else ():
        yield str(name), str(version) if version else "not installed"
    for key, words in SURROUNDINGS.items():
        if marker.get(key) is not None:
            yield words, str(marker[key])
    yield "hash of the plan", str(marker.get("plan_hash", ""))
