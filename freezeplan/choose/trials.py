"""One candidate's run, some epochs at a time: trained by the bundled trainer, scored row by row."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import torch

from freezeplan.choose.kinds import PROBED, Fitted, Sample
from freezeplan.choose.outcomes import Outcome
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.multitask import MultiTaskModel
from freezeplan.models.run_record import RUN_MARKER, file_of
from freezeplan.models.sealed import Altered, read_object
from freezeplan.prefix.examples import in_chunks, rows_at_once
from freezeplan.runs.events import EpochDone, Event, Observer, Working
from freezeplan.runs.ledger import new_ledger
from freezeplan.spec.reading import load_spec
from freezeplan.tasks.heads import LinearHead
from freezeplan.train.forward import EncodedSplit, Forward
from freezeplan.train.resume import find_stop, resume
from freezeplan.train.run import RunResult, train
from freezeplan.train.session import Session

VALIDATION = "validation"
FINISHED = "finished"
Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True)
class Advanced:
    """Say how far a run got, what its validation rows count for, and the seconds that took."""

    outcomes: Outcomes
    cpu_seconds: float
    seconds: float
    trained: int


def run_name(candidate: str, seed: int) -> str:
    """Return the folder of a candidate's run with a seed, below that of the comparison."""
    return f"runs/{candidate}-{seed}"


@dataclass
class _Held:
    """Hold the session of a run while it goes on."""

    session: Session | None = None
    fits: Mapping[str, Fitted] = field(default_factory=dict)

    def __call__(self, session: Session) -> None:
        self.session = session
        if self.fits:
            set_heads(session.setup.model, self.fits)
            # The run begins with these heads: evidence is about what comes after.
            session.running.ledger = new_ledger(session.setup.plan, session.setup.model)


def set_heads(model: MultiTaskModel, fits: Mapping[str, Fitted]) -> None:
    """Put linear probes in the place of the heads' weights."""
    for task, fit in fits.items():
        head = model.heads[task]
        if isinstance(head, LinearHead):
            with torch.no_grad():
                head.linear.weight.copy_(torch.from_numpy(fit.map.weights))
                head.linear.bias.copy_(torch.from_numpy(fit.map.bias))


class StoppedFromOutside(KeyboardInterrupt):
    """Say that a signal, not the comparison, stopped a run."""


def advance(
    spec: Path, folder: Path, epochs: int, observer: Observer, fits: Mapping[str, Fitted] | None = None
) -> Advanced:
    """Train a candidate until ``epochs`` of its epochs are complete, from where its folder stands.

    ``fits`` take the place of the heads' random weights where the run begins. Raises :class:`StoppedFromOutside` where
    a signal stopped it, and ``DiagnosticError`` as a training does.
    """
    held, stopping = _Held(fits=fits or {}), _StopAfter(epochs, observer)
    begun, cpu = time.monotonic(), time.process_time()
    result = _run(spec, folder, stopping, held)
    if result.status != FINISHED and not stopping.reached:
        raise StoppedFromOutside
    assert held.session is not None
    running = held.session.running
    outcomes = outcomes_of(running.forward, held.session.setup.data[VALIDATION], observer)
    trained = max(phase.trainable_numel for phase in held.session.setup.plan.phases)
    return Advanced(outcomes, time.process_time() - cpu, time.monotonic() - begun, trained)


def _run(spec: Path, folder: Path, observer: _StopAfter, held: _Held) -> RunResult:
    if _stands_before(folder, observer.epochs):
        held.fits = {}
        return resume(folder, observer, load_spec(spec), opened=held)
    # What was lost is how it scored; the same bits come again.
    shutil.rmtree(folder, ignore_errors=True)
    return train(load_spec(spec), folder, observer, opened=held)


def _stands_before(folder: Path, epochs: int) -> bool:
    """Whether a run is there that can go on and has not had so many epochs."""
    try:
        record = read_object(file_of(folder, RUN_MARKER))
        find_stop(folder)
    except (Altered, DiagnosticError):
        return False
    return record.get("status") != FINISHED and int(record.get("epoch", 0)) < epochs


class _StopAfter:
    """Pass events on, and stop the run once an epoch is complete."""

    def __init__(self, epochs: int, observer: Observer) -> None:
        self.epochs, self.observer, self.reached = epochs, observer, False

    def __call__(self, event: Event) -> None:
        if isinstance(event, Working):
            self.observer(event)
        if isinstance(event, EpochDone):
            self.observer(Working(f"trained {event.epoch} of {event.epochs} epochs"))
            if self.epochs <= event.epoch < event.epochs:
                self.reached = True
                raise KeyboardInterrupt


def outcomes_of(
    forward: Forward, splits: Mapping[str, EncodedSplit], observer: Observer
) -> dict[str, Outcome]:
    """Return what each validation row of each task counts for, with the model's present weights."""
    training = forward.model.training
    forward.model.eval()
    try:
        with torch.no_grad():
            return {task: _outcome(forward, task, split) for task, split in splits.items()}
    finally:
        forward.model.train(training)


def _outcome(forward: Forward, task: str, split: EncodedSplit) -> Outcome:
    kind = PROBED[split.kind.name](split.labels)
    found, targets, ends = [], [], []
    for rows in in_chunks(len(split), rows_at_once(forward.device.type, 128)):
        out = forward.outputs(task, split, list(rows))
        target = split.target(list(rows), forward.device)
        counted = target >= 0 if split.kind.reads_words else torch.ones(len(out), dtype=torch.bool)
        ends.append(
            counted.sum(dim=-1).cpu().numpy() if split.kind.reads_words else numpy.ones(len(out), int)
        )
        found.append(out[counted.to(out.device)].cpu().numpy())
        targets.append(target[counted.to(target.device)].cpu().numpy())
    joined = [numpy.concatenate(parts) for parts in (found, targets, ends)]
    return kind.outcome(joined[0], Sample(joined[0], joined[1], numpy.cumsum(joined[2])))
