"""Runs in processes of their own that kill themselves, with SIGKILL or SIGTERM, at a chosen moment.

A moment is a number: of files opened, renamed or removed in the run's folder (as the interpreter's audit events
report them), and of the run's own events, counted together. So a kill can fall between any two file operations
of a checkpoint, of the run's folder, or of a phase's end, and at any training step, and can be repeated.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from freezeplan.runs.checkpoints.store import CheckpointStore
from freezeplan.runs.events import Event
from freezeplan.runs.interrupts import StopsCommand
from freezeplan.runs.run_folder import RunFolder, status_of
from freezeplan.runs.verify import verify_run
from freezeplan.spec.tables import Spec
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from tests.train.phased import assert_same_tree

FILE_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.scandir", "os.listdir"}
KILLED = (-signal.SIGKILL, -signal.SIGTERM)  # SIGTERM: before the process has learned what to do with it
PRELOADED = ["freezeplan.train.resume", "datasets", "transformers"]


@dataclass
class Clock:
    """Count moments, and kill this process at one of them (0: at none)."""

    folder: str
    kill_at: int
    number: int = signal.SIGKILL
    moments: int = 0

    def tick(self, what: str) -> None:
        self.moments += 1
        if self.moments == self.kill_at:
            print(f"killed at moment {self.moments}: {what}", file=sys.stderr, flush=True)
            os.kill(os.getpid(), self.number)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in FILE_EVENTS and arguments and self.folder in str(arguments[0]):
            self.tick(f"{event} {arguments[0]}")

    def see(self, event: Event) -> None:
        self.tick(type(event).__name__)


def work(
    make: Callable[..., Spec], arguments: dict[str, Any], out: Path, kill_at: int, number: int, report: Any
) -> None:
    """Begin the run in a folder, or go on with it; how it ended and the moments that passed are sent then."""
    clock = Clock(str(out.name), kill_at, number)
    signal.signal(signal.SIGTERM, StopsCommand())  # as on the command line
    try:
        spec = make(**arguments)
        sys.addaudithook(clock.hear)
        if CheckpointStore(out).newest()[0] is not None:
            status = resume(out, clock.see).status
        else:
            status = train(spec, out, clock.see, overwrite=True).status
    except KeyboardInterrupt:
        status = "interrupted"
    report.send((status, clock.moments))


@dataclass(frozen=True)
class Outcome:
    """How one process ended: its exit code, the run's status, its moments and seconds (none when it was killed)."""

    exit_code: int
    status: str
    moments: int
    seconds: float

    @property
    def stopped(self) -> bool:
        """Whether a signal ended it."""
        return self.exit_code in KILLED or self.status == "interrupted"


def run_once(
    make: Callable[..., Spec],
    arguments: dict[str, Any],
    out: Path,
    kill_at: int = 0,
    seconds: float | None = None,
    number: int = signal.SIGKILL,
) -> Outcome:
    """Run a process that begins or goes on, and gets a signal at a moment or after some seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(make, arguments, out, kill_at, number, sender))
    began = time.monotonic()
    process.start()
    sender.close()
    process.join(seconds)
    if process.exitcode is None:
        os.kill(process.pid, number)
    process.join()
    assert process.exitcode is not None
    status, moments = receiver.recv() if process.exitcode == 0 else ("killed", 0)
    return Outcome(process.exitcode, status, moments, time.monotonic() - began)


def kill_and_resume(
    make: Callable[..., Spec],
    arguments: dict[str, Any],
    folder: Path,
    kills: int,
    seed: int,
    signals: tuple[int, ...] = (signal.SIGKILL,),
) -> list[str]:
    """Kill a run at random moments, ``kills`` times in all, resuming it each time; returns the moments.

    ``signals`` take turns.

    One kill in four comes from outside, after a random part of the time that a whole run takes: it can fall
    into the writing of a single file.

    The run that comes out must be that of a process that was never killed, byte for byte, with every
    checkpoint in it; no killed run may have lost a checkpoint, or have left what ``verify`` finds fault with. A
    run that ends before all kills are done is compared, and another one is begun.
    """
    chance, whole, out = Random(seed), folder / "whole", folder / "run0"
    straight = run_once(make, arguments, whole)
    assert straight.exit_code == 0
    done: list[str] = []
    while len(done) < kills:
        if chance.random() < 0.25:
            kill_at, seconds = 0, chance.uniform(0.0, straight.seconds)
            moment = f"{seconds:.2f} s"
        else:
            kill_at, seconds = chance.randint(1, straight.moments), None
            moment = str(kill_at)
        before = _newest(out)
        number = signals[len(done) % len(signals)]
        outcome = run_once(make, arguments, out, kill_at, seconds, number)
        assert outcome.exit_code in (0, *KILLED), outcome
        assert _newest(out) >= before, f"the kill at moment {moment} lost the checkpoint {before}"
        faults = _faults(out)
        assert faults == [], f"the kill at moment {moment} left no complete state: {faults}"
        if outcome.stopped:
            done.append(moment if len(signals) == 1 else f"{signal.Signals(number).name} {moment}")
        if _is_finished(out):
            assert_same_tree(out, whole)
            out = folder / f"run{len(done)}-{moment.partition(' ')[0]}"
    assert _is_finished(out) or run_once(make, arguments, out).exit_code == 0
    assert_same_tree(out, whole)
    return done


def _is_finished(out: Path) -> bool:
    """Whether a run is over: a kill may come when its last files are decided on, and still move into the folder."""
    if not out.is_dir() or status_of(out) != "finished":
        return False
    with RunFolder(out).claimed():
        return True


def _faults(out: Path) -> list[str]:
    """Say what ``verify`` finds in a run's folder, whenever it was killed; a store may lie half written there."""
    if not out.exists():
        return []
    errors = [item.message for item in verify_run(out).diagnostics if item.is_error]
    return [message for message in errors if not message.startswith("`store")]


def _newest(out: Path) -> int:
    found, _ = CheckpointStore(out).newest()
    return found.state["step"] if found else -1
