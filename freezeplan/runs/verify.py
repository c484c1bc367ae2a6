"""Re-checks a run's folder: is every file in it what was written, and do weights, plan and evidence agree?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import counted, first_few
from freezeplan.models.run_record import NEXT, RUN_MARKER, RunRecord, file_of, home_of, no_run, read_run
from freezeplan.models.sealed import Altered, fault_of, read_object, read_sealed
from freezeplan.runs.checkpoints.store import STATE, CheckpointStore, Damaged
from freezeplan.runs.claim import INSIDE
from freezeplan.runs.metrics_log import FILE as LOG
from freezeplan.runs.proving import Contents, contradictions
from freezeplan.runs.readable import readable
from freezeplan.runs.stored_files import check_stores, is_store
from freezeplan.runs.times import TIMES

SHOWN = 10
COPY = "copy the folder again, whole, or go on from a checkpoint with `freezeplan train --resume`"
ALWAYS = ("config.json", "spec.toml", "plan.json", "evidence.json", LOG)
FINISHED, RUNNING = "finished", "running"


@dataclass(frozen=True)
class Verified:
    """What a run's folder proves: its status, the statement of its evidence, and all that speaks against it.

    ``files`` and ``tensors`` count what was checked.
    """

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

    Checked are: ``run.json`` against its own hash, and the sha256 of every file against it, those of checkpoints
    against each checkpoint's ``state.json``, both ways: none is missing (FP550), none is there that the run did
    not write (FP559, a warning). Then the plan against its hash (FP551), every tensor against the evidence
    (FP552), and the evidence itself: that its hashes show what its statement says, phase by phase, and that what
    it calls frozen is what the plan freezes (FP553). A run that is not finished is a warning (FP554). Raises
    ``DiagnosticError`` (FP520, FP521) for a folder that holds no run, or records that cannot be read.
    """
    folder = Path(folder)
    with readable(folder):
        return _verified(folder)


def _verified(folder: Path) -> Verified:
    home, _ = home_of(folder)
    run = _run_of(home, folder)
    checkpoints, files = _checkpoints(home, run), _files(home, run)
    problems = [item for item in (*files, *checkpoints.problems) if item is not None]
    problems += check_stores(home)
    problems += _unknown(home, run, checkpoints)
    contents = _contents(home, run, problems)
    problems += contradictions(contents)
    problems += _check_status(run, folder)
    count = len(files) + checkpoints.count
    return Verified(
        _status(run), contents.evidence.statement, count, len(contents.evidence.tensors), tuple(problems)
    )


def _run_of(home: Path, folder: Path) -> RunRecord:
    try:
        run = read_run(home)
    except ValueError as error:
        raise DiagnosticError([_unreadable(folder, str(error))]) from None
    if run is None:
        raise no_run(folder)
    return run


def _status(run: RunRecord) -> str:
    return str(run.everything.get("status"))


def _altered(reason: str) -> Diagnostic:
    return diagnostic("FP550", reason, help=COPY)


def _files(home: Path, run: RunRecord) -> list[Diagnostic | None]:
    """Check each file that ``run.json`` lists, or must list; None for one that is as it was written."""
    found: list[Diagnostic | None] = []
    for name, expected in run.files.items():
        length = run.everything.get("log_bytes") if name == LOG else None
        reason = fault_of(file_of(home, name), name, expected, length if isinstance(length, int) else None)
        found.append(_altered(reason) if reason else None)
    listed = {*run.files, *run.weights}
    missing = [name for name in ALWAYS if name not in run.files]
    found += [_altered(f"`{RUN_MARKER}` does not list `{name}`") for name in missing]
    found += [_altered(f"`{RUN_MARKER}` does not list `{name}`") for name in listed.difference(run.files)]
    try:
        read_sealed(file_of(home, TIMES))
        found.append(None)
    except Altered as error:
        found.append(_altered(str(error)))
    return [*found, _check_log(home, run)]


def _check_log(home: Path, run: RunRecord) -> Diagnostic | None:
    """Refuse a log that goes on behind what counts, unless a process may have been killed while it wrote."""
    length = run.everything.get("log_bytes")
    if not isinstance(length, int):
        return _altered(f"`{RUN_MARKER}` does not say how much of `{LOG}` counts")
    try:
        more = file_of(home, LOG).stat().st_size - length
    except OSError:
        return None
    if more > 0 and _status(run) != RUNNING:
        return _altered(f"`{LOG}` goes on for {counted(more, 'byte')} that the run did not write")
    return None


@dataclass(frozen=True)
class _Checked:
    """What became of the checkpoints: the files that belong to them, and what is wrong."""

    names: frozenset[str]
    problems: tuple[Diagnostic, ...]

    @property
    def count(self) -> int:
        return len(self.names)


def _checkpoints(home: Path, run: RunRecord) -> _Checked:
    store, names, problems = CheckpointStore(home), set(), []
    there = store.names()
    for name in there:
        try:
            found = store.read(name)
        except Damaged as error:
            problems.append(_altered(f"checkpoint `{name}` is damaged: {error}"))
            names |= {f"{store.folder.name}/{name}/{item.name}" for item in (store.folder / name).iterdir()}
            continue
        names |= {f"{store.folder.name}/{name}/{file}" for file in (*found.state["files"], STATE)}
    names |= store.weight_files()
    known = run.everything.get("checkpoints")
    if isinstance(known, dict):
        problems += _against_known(home, known, there)
    return _Checked(frozenset(names), tuple(problems))


def _against_known(home: Path, known: Mapping[str, Any], there: list[str]) -> Iterator[Diagnostic]:
    """Compare the checkpoints that a run ended with and those that are there, both ways."""
    for name in known:
        if name not in there:
            yield _altered(f"checkpoint `{name}` is missing")
        elif fault_of(home / "checkpoints" / name / STATE, STATE, str(known[name])) is not None:
            yield _altered(f"checkpoint `{name}` is not the one that the run ended with")
    for name in there:
        if name not in known:
            yield _altered(f"checkpoint `{name}` is none that the run ended with")


def _unknown(home: Path, run: RunRecord, checkpoints: _Checked) -> Iterator[Diagnostic]:
    known = {*run.files, RUN_MARKER, TIMES, INSIDE, *checkpoints.names}
    unfinished = _status(run) != FINISHED
    found = []
    for item in sorted(home.rglob("*")):
        name = item.relative_to(home).as_posix().removeprefix(f"{NEXT}/")
        if item.is_dir() and not item.is_symlink():
            continue
        if name not in known and not (unfinished and (is_store(name) or ".partial-" in name)):
            found.append(name)
    if found:
        message = f"{counted(len(found), 'file')} in the folder that the run did not write"
        shown = first_few([f"`{name}`" for name in found], SHOWN)
        yield diagnostic("FP559", message, notes=shown)


def _contents(home: Path, run: RunRecord, problems: list[Diagnostic]) -> Contents:
    try:
        plan, record = (read_object(file_of(home, name)) for name in ("plan.json", "evidence.json"))
        return Contents(home, run, plan, record)
    except (Altered, KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        reason = (
            str(error) if isinstance(error, Altered) else "`evidence.json` does not hold what a run writes"
        )
        raise DiagnosticError([_unreadable(home, reason), *problems]) from None


def _check_status(run: RunRecord, folder: Path) -> Iterator[Diagnostic]:
    if _status(run) != FINISHED:
        message = f"the run is not finished: it is {_status(run)}, after epoch {run.everything.get('epoch')}"
        yield diagnostic("FP554", message, help=f"go on with `freezeplan train --resume {folder}`")


def _unreadable(folder: Path, reason: str) -> Diagnostic:
    return diagnostic("FP521", f"the run `{folder}` cannot be used: {reason}", help=COPY)
