"""Weights, plan and evidence of a run, held against each other: what contradicts what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from freezeplan.apply.fingerprints import sha256
from freezeplan.diagnostics import Diagnostic, diagnostic
from freezeplan.diagnostics.wording import counted, first_few
from freezeplan.inventory.names import without_parametrization
from freezeplan.models.run_record import RunRecord, file_of
from freezeplan.plan.document import record_hash
from freezeplan.runs.evidence import Evidence, evidence_of

SHOWN = 10
COPY = "copy the folder again, whole, or go on from a checkpoint with `freezeplan train --resume`"
BROKEN = (KeyError, TypeError, AttributeError, IndexError, ValueError)


@dataclass(frozen=True)
class Contents:
    """Hold what a run's folder says: ``run.json``, the record of its plan, and that of its evidence.

    ``evidence`` raises whatever a record of another form leads to.
    """

    home: Path
    run: RunRecord
    plan: Mapping[str, Any]
    record: Mapping[str, Any]

    def __post_init__(self) -> None:
        _ = self.evidence.statement

    @cached_property
    def evidence(self) -> Evidence:
        """The evidence, from its record."""
        return evidence_of(self.record)

    def digests(self) -> dict[str, str]:
        """Hash every tensor on the disk; a file that cannot be read has none."""
        found: dict[str, str] = {}
        for name in {**self.run.weights, **self.run.files}:
            if name.endswith(".safetensors"):
                found |= _digests(file_of(self.home, name))
        return {without_parametrization(name, "")[0]: digest for name, digest in found.items()}


def _digests(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        with safe_open(path, "pt") as file:
            return {name: sha256(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return {}


def contradictions(found: Contents) -> Iterator[Diagnostic]:
    """Yield what contradicts what: FP551 for the plan, FP552 for the tensors, FP553 for the evidence."""
    yield from _check_plan(found)
    yield from _check_weights(found)
    yield from _check_evidence(found)


def _check_plan(found: Contents) -> Iterator[Diagnostic]:
    try:
        same = record_hash(found.plan) == found.run.everything.get("plan_hash")
    except BROKEN:
        same = False
    if not same:
        yield diagnostic("FP551", "`plan.json` is not the plan of this run (its hash differs)", help=COPY)


def _check_weights(found: Contents) -> Iterator[Diagnostic]:
    """Compare the tensors on the disk with the last hashes of the evidence."""
    digests, tensors = found.digests(), found.evidence.tensors
    expected = {item.name: item.after for item in tensors}
    frozen = {item.name for item in tensors if item.frozen}
    wrong = [name for name, digest in digests.items() if expected.get(name) != digest]
    wrong += [item.name for item in tensors if item.kind == "parameter" and item.name not in digests]
    if wrong:
        kept = [name for name in wrong if name in frozen]
        what = f", {len(kept)} of them frozen" if kept else ""
        message = f"the weights differ from the evidence in {counted(len(wrong), 'tensor')}{what}"
        yield diagnostic("FP552", message, help=COPY, notes=_listed(wrong))


def _check_evidence(found: Contents) -> Iterator[Diagnostic]:
    evidence, problems = found.evidence, []
    try:
        if evidence.violations:
            problems.append(f"frozen tensors moved: {', '.join(_listed(evidence.violations))}")
        if found.record["statement"] != evidence.statement:
            problems.append(f"its hashes say: {evidence.statement}")
        problems += _against_plan(evidence, found.plan)
        problems += _broken_chain(found.record, evidence)
    except BROKEN:
        problems.append("it, or `plan.json`, does not hold what a run writes")
    if problems:
        message = "`evidence.json` does not prove what it says"
        yield diagnostic("FP553", message, notes=problems)


def _against_plan(evidence: Evidence, plan: Mapping[str, Any]) -> Iterator[str]:
    trained = [
        {row["name"] for row in phase["parameters"] if row["state"] == "trainable"}
        for phase in plan["phases"]
    ]
    never = {item.name for item in evidence.tensors if item.kind == "parameter"}.difference(*trained)
    if never != {item.name for item in evidence.tensors if item.kind == "parameter" and item.frozen}:
        yield "what it calls frozen is not what the plan freezes"
    for phase in evidence.phases:
        frozen = {item["name"] for item in phase["tensors"] if item["kind"] == "parameter" and item["frozen"]}
        everything = {item["name"] for item in phase["tensors"] if item["kind"] == "parameter"}
        if frozen != everything - trained[phase["index"]]:
            yield f"what it calls frozen in phase `{phase['phase']}` is not what the plan freezes in it"


def _broken_chain(record: Mapping[str, Any], evidence: Evidence) -> Iterator[str]:
    """Follow every tensor's hashes through the phases, from the start of the run to its end."""
    current = {item.name: item.before for item in evidence.tensors}
    for phase in record["phases"]:
        for item in phase["tensors"]:
            if current[item["name"]] != item["before"]:
                yield f"`{item['name']}` changed between the phases, before `{phase['phase']}`"
            if item["frozen"] and item["before"] != item["after"] and item["name"] not in phase["violations"]:
                yield f"`{item['name']}` was frozen in phase `{phase['phase']}` and moved"
            current[item["name"]] = item["after"]
    if record["phases"]:
        for item in evidence.tensors:
            if current[item.name] != item.after:
                yield f"`{item.name}` changed after the last phase"


def _listed(names: Any) -> list[str]:
    return first_few([f"`{name}`" for name in names], SHOWN)
