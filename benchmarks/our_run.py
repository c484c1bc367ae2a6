"""One run of the bundled trainer, with a stamp at each of its events."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch

from benchmarks.timing import Clock
from freezeplan.apply.ending import Scores
from freezeplan.runs.events import EpochDone, Event, ExecutionChosen, Finished, StepDone
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.tables import Spec
from freezeplan.train.session import Session
from freezeplan.train.setup import prepare


@dataclass(frozen=True)
class Stamp:
    """Say which event came when, in seconds since data and model were ready."""

    event: Event
    seconds: float


@dataclass(frozen=True)
class Epoch:
    """Hold what one epoch took, in seconds, and how it scored.

    ``choosing`` is what came before its first step: entering the phase, finding the cut, filling the store (in
    later epochs of a phase nothing); ``steps`` its steps; ``saving`` evaluation, hashes, folder and checkpoint.
    """

    choosing: float
    steps: float
    saving: float
    losses: dict[str, float] = field(default_factory=dict)
    scores: Scores = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.choosing + self.steps + self.saving


@dataclass(frozen=True)
class OurRun:
    """Hold what a run took since data and model were ready: its epochs, and the ``rest`` after the last.

    ``statements`` say of each phase how its frozen part ran.
    """

    epochs: tuple[Epoch, ...]
    rest: float
    statements: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(epoch.seconds for epoch in self.epochs) + self.rest

    def lasting(self, epochs: int) -> float:
        """Return what a run of so many epochs takes: each as long as the median, and once what is done once."""
        each = median(epoch.steps + epoch.saving for epoch in self.epochs)
        return sum(epoch.choosing for epoch in self.epochs) + epochs * each + self.rest

    @property
    def later_steps(self) -> float:
        """What the steps of an epoch take after the first, the median."""
        return median(epoch.steps for epoch in self.epochs[1:])


def run_of(stamps: Sequence[Stamp]) -> OurRun:
    """Take a run's stamps apart."""
    epochs: list[Epoch] = []
    statements: list[str] = []
    before = begun = last = 0.0
    for stamp in stamps:
        event, now = stamp.event, stamp.seconds
        if isinstance(event, ExecutionChosen):
            statements.append(event.statement)
            begun = now
        elif isinstance(event, StepDone):
            last = now
        elif isinstance(event, EpochDone):
            epoch = Epoch(begun - before, last - begun, now - last, dict(event.losses), event.scores)
            epochs.append(epoch)
            before = begun = now
    end = next(stamp.seconds for stamp in stamps if isinstance(stamp.event, Finished))
    return OurRun(tuple(epochs), end - before, tuple(statements))


@dataclass
class Watch:
    """Note each event of a run with the seconds since the watch was started.

    After each epoch ``between`` is called, which does not count.
    """

    clock: Clock
    between: Callable[[], None]
    start: float = 0.0
    stamps: list[Stamp] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        now = self.clock.read()
        self.stamps.append(Stamp(event, now - self.start))
        if isinstance(event, EpochDone):
            with torch.random.fork_rng():
                self.between()
            self.start += self.clock.read() - now


def timed_run(spec: Spec, clock: Clock, between: Callable[[], None] = lambda: None) -> OurRun:
    """Run a spec into a folder that is thrown away; reading data and loading the model are not counted."""
    with tempfile.TemporaryDirectory() as place:
        setup, watch = prepare(spec), Watch(clock, between)
        watch.start = clock.read()
        Session(setup, RunFolder(Path(place) / "run"), watch).run()
    return run_of(watch.stamps)
