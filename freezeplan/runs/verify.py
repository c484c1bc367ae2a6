"""Re-checks a run's folder: do its files, weights, plan and evidence still say the same?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from freezeplan.apply.fingerprints import sha256
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import counted, first_few
from freezeplan.inventory.names import without_parametrization
from freezeplan.models.run_record import RUN_MARKER, RUN_WEIGHTS
from freezeplan.plan.document import record_hash
from freezeplan.runs.checkpoints.store import file_sha256
from freezeplan.runs.evidence import Evidence, evidence_of

SHOWN = 10
COPY = "copy the folder again, whole, or go on from a checkpoint with `freezeplan train --resume`"


@dataclass(frozen=True)
class Verified:
    """What a run's folder proves: its status, the statement of its evidence, and all that speaks against it."""

    status: str
    statement: str
    files: int
    tensors: int
    diagnostics: tuple[Diagnostic, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return not any(item.is_error for item in self.diagnostics)


def verify_run(folder: Path) -> Verified:
    """Check a run's folder against what it says of itself; nothing is loaded into a model, nothing is changed.

    Checked are: the sha256 of every file against ``run.json`` (FP550), the plan against its hash there (FP551),
    every tensor of the weights against the evidence (FP552), and the evidence itself: that its hashes show what
    its statement says, phase by phase, and that what it calls frozen is what the plan freezes (FP553). A run
    that is not finished is a warning (FP554). Raises ``DiagnosticError`` (FP520, FP521) for a folder that holds
    no run, or files that cannot be read.
    """
    folder = Path(folder)
    marker = folder / RUN_MARKER
    if not marker.is_file():
        what = f"it has no `{RUN_MARKER}`" if folder.is_dir() else "there is no such folder"
        message = f"`{folder}` is not the folder of a run: {what}"
        raise DiagnosticError([diagnostic("FP520", message, help="name the folder that `train --out` wrote")])
    run = _read(folder, RUN_MARKER)
    files = run.get("files")
    if not isinstance(files, dict):
        raise _unreadable(folder, f"`{RUN_MARKER}` lists no files: an older version wrote it")
    problems = [*_check_files(folder, files)]
    plan, record = _read(folder, "plan.json"), _read(folder, "evidence.json")
    try:
        evidence = evidence_of(record)
        problems += _check_plan(plan, run)
        problems += _check_weights(folder, evidence)
        problems += _check_evidence(record, evidence, plan)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise _unreadable(folder, f"`plan.json` or `evidence.json` lacks {error}") from None
    problems += _check_status(run)
    return Verified(
        str(run.get("status")), evidence.statement, len(files), len(evidence.tensors), tuple(problems)
    )


def _check_files(folder: Path, files: Mapping[str, str]) -> Iterator[Diagnostic]:
    for name, expected in files.items():
        if not (folder / name).is_file():
            yield diagnostic("FP550", f"`{name}` is missing", help=COPY)
        elif file_sha256(folder / name) != expected:
            message = f"`{name}` is not the file that `{RUN_MARKER}` was written with (its sha256 differs)"
            yield diagnostic("FP550", message, help=COPY)


def _check_plan(plan: dict[str, Any], run: Mapping[str, Any]) -> Iterator[Diagnostic]:
    if record_hash(plan) != run.get("plan_hash"):
        yield diagnostic("FP551", "`plan.json` is not the plan of this run (its hash differs)", help=COPY)


def _check_weights(folder: Path, evidence: Evidence) -> Iterator[Diagnostic]:
    """Compare the tensors in the weights file with the last hashes of the evidence."""
    expected = {item.name: item.after for item in evidence.tensors}
    frozen = {item.name for item in evidence.tensors if item.frozen}
    parameters = [item.name for item in evidence.tensors if item.kind == "parameter"]
    try:
        with safe_open(folder / RUN_WEIGHTS, "pt") as file:
            digests = {name: sha256(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(folder, f"`{RUN_WEIGHTS}` is not a readable .safetensors file") from error
    found = {without_parametrization(name, "")[0]: digest for name, digest in digests.items()}
    wrong = [name for name, digest in found.items() if expected.get(name) != digest]
    wrong += [name for name in parameters if name not in found]
    if wrong:
        kept = [name for name in wrong if name in frozen]
        what = f", {len(kept)} of them frozen" if kept else ""
        message = f"`{RUN_WEIGHTS}` differs from the evidence in {counted(len(wrong), 'tensor')}{what}"
        yield diagnostic("FP552", message, help=COPY, notes=_listed(wrong))


def _check_evidence(
    record: Mapping[str, Any], evidence: Evidence, plan: Mapping[str, Any]
) -> Iterator[Diagnostic]:
    problems = []
    if evidence.violations:
        problems.append(f"frozen tensors moved: {', '.join(_listed(evidence.violations))}")
    if record["statement"] != evidence.statement:
        problems.append(f"its hashes say: {evidence.statement}")
    problems += _against_plan(evidence, plan)
    problems += _broken_chain(record, evidence)
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


def _check_status(run: Mapping[str, Any]) -> Iterator[Diagnostic]:
    if run.get("status") != "finished":
        message = f"the run is not finished: it is {run.get('status')}, after epoch {run.get('epoch')}"
        yield diagnostic("FP554", message, help="go on with `freezeplan train --resume`")


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        record = json.loads((folder / name).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(folder, f"`{name}` is missing or not readable JSON") from error
    if not isinstance(record, dict):
        raise _unreadable(folder, f"`{name}` does not hold what a run writes")
    return record


def _unreadable(folder: Path, reason: str) -> DiagnosticError:
    message = f"the run `{folder}` cannot be used: {reason}"
    return DiagnosticError([diagnostic("FP521", message, help=COPY)])


def _listed(names: Any) -> list[str]:
    return first_few([f"`{name}`" for name in names], SHOWN)
