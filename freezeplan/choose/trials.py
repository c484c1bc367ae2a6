"""One candidate's run, some epochs at a time: trained by the bundled trainer, scored row by row."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch

from freezeplan.choose.kinds import LANGUAGE, PROBED, Fitted, Sample
from freezeplan.choose.outcomes import Outcome, perplexity
from freezeplan.choose.peaks import measured_peak
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.multitask import MultiTaskModel
from freezeplan.models.run_record import RUN_MARKER, file_of
from freezeplan.models.sealed import Altered, read_object
from freezeplan.runs.events import EpochDone, Event, Observer, Working
from freezeplan.runs.ledger import new_ledger
from freezeplan.spec.reading import load_spec
from freezeplan.tasks.causal_lm import token_logits
from freezeplan.tasks.heads import LinearHead
from freezeplan.train.forward import EncodedSplit
from freezeplan.train.resume import find_stop, resume
from freezeplan.train.run import RunResult, train
from freezeplan.train.session import Session

VALIDATION = "validation"
FINISHED = "finished"
Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True)
class Advanced:
    """Say what a run's validation rows count for, the seconds that it took, and the most memory of the process.

    ``peak_bytes`` is 0 where that cannot be told.
    """

    outcomes: Outcomes
    cpu_seconds: float
    seconds: float
    trained: int
    peak_bytes: int = 0


def run_name(candidate: str, seed: int) -> str:
    """Return the folder of a candidate's run with a seed, below that of the comparison."""
    return f"runs/{candidate}-{seed}"


@dataclass
class _Held:
    """Hold the session of a run while it goes on."""

    session: Session | None = None
    seen: RowsSeen | None = None
    fits: Mapping[str, Fitted] = field(default_factory=dict)

    def __call__(self, session: Session) -> None:
        self.session = session
        self.seen = session.running.measuring.seen = RowsSeen(session.setup.data[VALIDATION])
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
    with measured_peak() as memory:
        result = _run(spec, folder, stopping, held)
    if result.status != FINISHED and not stopping.reached:
        raise StoppedFromOutside
    assert held.session is not None
    assert held.seen is not None
    outcomes = held.seen.outcomes()
    trained = max(phase.trainable_numel for phase in held.session.setup.plan.phases)
    spent = time.process_time() - cpu
    return Advanced(outcomes, spent, time.monotonic() - begun, trained, memory.bytes)


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


class RowsSeen:
    """Keep what the heads put out for validation rows when they were evaluated last, and the targets."""

    def __init__(self, splits: Mapping[str, EncodedSplit]) -> None:
        self.splits = splits
        self.batches: dict[str, dict[int, tuple[numpy.ndarray, ...]]] = {task: {} for task in splits}

    def __call__(self, task: str, rows: Sequence[int], out: torch.Tensor, target: torch.Tensor) -> None:
        """Keep a batch; the same rows come together each time."""
        if self.splits[task].kind.name == LANGUAGE:
            self._add_losses(task, rows, out, target)
            return
        reads_words = self.splits[task].kind.reads_words
        counted = target >= 0 if reads_words else torch.ones(len(out), dtype=torch.bool)
        ends = counted.sum(dim=-1).cpu().numpy() if reads_words else numpy.ones(len(out), dtype=int)
        kept = (out[counted.to(out.device)], target[counted.to(target.device)])
        numbers = numpy.asarray(rows)
        self.batches[task][int(numbers[0])] = (numbers, ends, *(item.cpu().numpy() for item in kept))

    def _add_losses(self, task: str, rows: Sequence[int], out: Any, target: torch.Tensor) -> None:
        """Keep of each row of a language model the sum of its tokens' losses, and how many they are."""
        logits, numbers = token_logits(out), numpy.asarray(rows)
        places = (target[:, 0] // logits.states.shape[1]).cpu().numpy()
        losses = logits.scored(target)[0].double().cpu().numpy()
        sums, tokens = (numpy.bincount(places, held, len(rows)) for held in (losses, None))
        self.batches[task][int(numbers[0])] = (numbers, sums, tokens)

    def outcomes(self) -> dict[str, Outcome]:
        """Return what each validation row of each task counts for."""
        return {task: self._outcome(task) for task in self.splits}

    def _outcome(self, task: str) -> Outcome:
        split = self.splits[task]
        if split.kind.name == LANGUAGE:
            rows, sums, tokens = map(numpy.concatenate, zip(*self.batches[task].values(), strict=True))
            order = numpy.argsort(rows, kind="stable")
            return perplexity(sums[order], tokens[order])
        rows, counts, found, targets = map(numpy.concatenate, zip(*self.batches[task].values(), strict=True))
        shuffled = Sample(found, targets, numpy.cumsum(counts))
        sample = shuffled.rows(numpy.argsort(rows, kind="stable"))
        return PROBED[split.kind.name](split.labels).outcome(sample.features, sample)
