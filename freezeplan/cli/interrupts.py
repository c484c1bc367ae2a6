"""Noting what stops a command: Ctrl-C, a polite end (SIGTERM), a terminal that goes away (SIGHUP)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from freezeplan.cli.status import STOPPED
from freezeplan.cli.streams import Settings
from freezeplan.runs.interrupts import NAMES, StopRequest, StopsCommand


@dataclass
class Noting(StopsCommand):
    """Set ``settings.stopped_by`` at a signal and raise ``KeyboardInterrupt``; its echo does nothing."""

    settings: Settings
    stop: StopRequest = field(default_factory=StopRequest)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Act on the signal."""
        first = not self.stop.asked
        if self.stop.note(number) or first:
            self.settings.stopped_by = number
            raise KeyboardInterrupt


@contextmanager
def noting_interrupts(settings: Settings) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP stop the block alike: all raise ``KeyboardInterrupt``, and are noted.

    It is noted so that it counts even where a library keeps the exception for itself. Nothing changes outside
    the main thread, or for a signal whose usual effect somebody has changed: a process in the background
    ignores Ctrl-C, one under ``nohup`` the end of its terminal.
    """
    usual = (signal.default_int_handler, signal.SIG_DFL)
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {number: found for number in numbers if (found := signal.getsignal(number)) in usual}
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    note = Noting(settings)
    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def stopped_status(settings: Settings) -> int:
    """Return the exit status of a command that was stopped: 128 and the signal's number, as in a shell."""
    return STOPPED + (settings.stopped_by or signal.SIGINT)


def signal_name(settings: Settings) -> str:
    """Return what stopped the command, as people call it."""
    number = settings.stopped_by or signal.SIGINT
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
