"""One whole training run: from a spec to a folder with the model, its scores and the evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from freezeplan.diagnostics import Diagnostic, diagnostic
from freezeplan.plan.records import Plan
from freezeplan.runs.checkpoints.store import CheckpointStore
from freezeplan.runs.events import Interrupted, Observer, Scores, ignore_events
from freezeplan.runs.evidence import Evidence
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.failures import explained
from freezeplan.train.phases import proved_of
from freezeplan.train.session import Session
from freezeplan.train.setup import prepare

Opened = Callable[[Session], None]


@dataclass(frozen=True)
class RunResult:
    """Say how a run ended.

    ``status`` is ``finished`` or ``interrupted``; ``folder`` is where the last complete epoch is, None when
    none was completed; ``epoch`` counts the complete ones. ``validation`` and ``test`` hold the scores of the
    weights in the folder. ``diagnostics`` holds warnings: about the data, what did not move, the
    interruption. ``ended_early`` says at which value of which metric ``train.stop_when`` ended the run.
    """

    status: str
    folder: Path | None
    epoch: int = 0
    validation: Scores = field(default_factory=dict)
    test: Scores = field(default_factory=dict)
    evidence: Evidence | None = None
    plan: Plan | None = None
    evaluation_only: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()
    ended_early: str | None = None

    @property
    def statement(self) -> str:
        """What the hashes prove, in one sentence; empty when no epoch was completed."""
        return self.evidence.statement if self.evidence else ""


def train(
    spec: Spec,
    out: Path,
    observer: Observer = ignore_events,
    plan: Plan | None = None,
    overwrite: bool = False,
    opened: Opened | None = None,
) -> RunResult:
    """Train the tasks of a spec and leave the result in the folder ``out``.

    After each epoch the folder holds that epoch, complete: ``model.safetensors``, the backbone's config and
    tokenizer, ``run.json``, ``spec.toml``, ``plan.json``, ``metrics.jsonl``, ``evidence.json``; its folder
    ``checkpoints`` holds what :func:`freezeplan.train.resume.resume` goes on from. ``observer``
    is called with each event of the run and may raise ``KeyboardInterrupt`` to stop it. ``plan`` is the plan
    that was shown beforehand: the loaded model must give the same one. ``overwrite`` allows ``out`` to be an
    unfinished run. ``opened`` is called with the session before its first step. A spec built in Python is checked
    first. A plan that trains nothing is evaluated, and the result says so.

    Returns a :class:`RunResult`; a Ctrl-C gives one with the status ``interrupted``. Raises
    ``DiagnosticError`` for bad data or set-up (nothing is written), for a folder that another run is working
    in (FP505), and for a frozen tensor that moved
    (FP510), a loss that is not finite (FP503) or a full disk (FP502), which leave the last complete epoch.
    """
    folder = RunFolder(Path(out), overwrite)
    folder.check_writable()
    with folder.claimed():
        folder.check_free()
        return _trained(spec, plan, folder, observer, opened)


def _trained(
    spec: Spec, plan: Plan | None, folder: RunFolder, observer: Observer, opened: Opened | None
) -> RunResult:
    session: Session | None = None
    try:
        with explained():
            setup = prepare(load_spec(spec), plan, observer=observer)
        session = Session(setup, folder, observer)
        if opened is not None:
            opened(session)
        session.run()
    except KeyboardInterrupt:
        return interrupted(session, folder, observer)
    return result_of("finished", session, folder)


def interrupted(session: Session | None, folder: RunFolder, observer: Observer) -> RunResult:
    """Note in the folder that the run was stopped, and say what is left of it and how to go on."""
    if session is not None and session.finished:
        return result_of("finished", session, folder)
    if session is not None:
        session.mark("interrupted")
    place = folder.path if folder.started else None
    epoch = session.running.published.epoch if session else 0
    resumable = place is not None and bool(CheckpointStore(place).names())
    advice = f"go on with `freezeplan train --resume {place}`" if resumable else None
    note = diagnostic("FP540", f"the run was stopped; {_kept(session, place)}", help=advice)
    (session.observer if session else observer)(Interrupted(epoch, place))
    return result_of("interrupted", session, folder, note)


def _kept(session: Session | None, place: Path | None) -> str:
    if place is None:
        return "no epoch was complete: nothing was written"
    if session is None or session.running.evidence is None:
        return f"nothing was done yet: `{place}` is as it was"
    published = session.running.published
    if not published.sums and published.epoch:
        return f"epoch {published.epoch} is complete and usable in `{place}`"
    if published.epoch:
        return f"`{place}` holds step {published.step}, in epoch {published.epoch + 1}"
    return f"no epoch was complete; `{place}` holds step {published.step}"


def result_of(status: str, session: Session | None, folder: RunFolder, *more: Diagnostic) -> RunResult:
    """Return how a run ended."""
    place = folder.path if folder.started else None
    if session is None:
        return RunResult(status, place, diagnostics=more)
    running = session.running
    proved = proved_of(running) if running.evidence else ()
    return RunResult(
        status,
        place,
        running.published.epoch,
        running.saved_validation,
        session.test,
        running.evidence,
        session.setup.plan,
        session.setup.evaluation_only,
        (*session.setup.warnings, *running.warnings, *proved, *more),
        running.position.ended,
    )
