"""What the evidence of a run says: of the whole run, and of each of its phases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from freezeplan.plan.records import Plan
from freezeplan.render.schedule import length_text, schedule_text
from freezeplan.report.folder import whole
from freezeplan.report.records import DriftedHead, Proof, ReportedPhase

Record = Mapping[str, Any]


def proof_of(evidence: Record) -> Proof:
    """Return what a record of evidence says of the whole run."""
    causes: dict[str, list[str]] = {}
    for name, cause in evidence["unmoved"].items():
        causes.setdefault(str(cause), []).append(str(name))
    return Proof(
        statement=str(evidence["statement"]),
        holds=evidence["holds"] is True,
        violations=tuple(map(str, evidence["violations"])),
        unmoved=tuple((cause, tuple(names)) for cause, names in causes.items()),
        drift=tuple(item for phase in evidence["phases"] for item in _drift(phase)),
    )


def _drift(phase: Record) -> Iterator[DriftedHead]:
    for item in phase["drift"]:
        for metric, before in item["before"].items():
            values = float(before), float(item["after"][metric])
            yield DriftedHead(
                str(item["task"]), str(item["since"]), str(phase["phase"]), str(metric), *values
            )


def reported_phases(
    plan: Plan | None, evidence: Record, times: Mapping[str, Record]
) -> Iterator[ReportedPhase]:
    """Yield each phase of the plan with what the evidence says of it; without a plan, those that were run.

    ``times`` maps the names of what was measured (``seconds``, ``cpu_seconds``, ``peak_bytes``) to a value per phase.
    """
    told = {whole(item["index"]): item for item in evidence.get("phases", ())}
    start = 0
    for place in range(len(plan.phases)) if plan else sorted(told):
        own = told.get(place, {})
        name = plan.phases[place].name if plan else str(own["phase"])
        yield _phase(plan, place, name, own, start if own else None, times)
        start += whole(own.get("steps", 0))


def _phase(
    plan: Plan | None, place: int, name: str, own: Record, start: int | None, times: Mapping[str, Record]
) -> ReportedPhase:
    planned = plan.phases[place] if plan else None
    return ReportedPhase(
        name=name,
        length=length_text(planned.length) if planned else "",
        schedule=schedule_text(planned) if planned else "",
        trainable=planned.trainable_numel if planned else 0,
        optimizer_state_bytes=planned.optimizer_state_bytes if planned else 0,
        started=start,
        steps=whole(own.get("steps", 0)),
        ended=str(own.get("ended") or ""),
        execution=str(own.get("execution", "")),
        statement=str(own.get("statement", "")),
        **{what: values[name] for what, values in times.items() if name in values},
        rates=tuple(
            (str(group), float(low), float(high)) for group, (low, high) in own.get("rates", {}).items()
        ),
    )
