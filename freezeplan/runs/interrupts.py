"""Holds Ctrl-C, and the signals that stop a command alike, back until what a run has in hand is saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
TOGETHER = 1.0
"""Seconds in which signals count as one: a launcher passes on what its processes got already."""


class StopsCommand:
    """Stop a command at a signal, by raising ``KeyboardInterrupt``; what is in place of a signal's default."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Act on the signal."""
        raise KeyboardInterrupt


@dataclass
class StopRequest:
    """Remember that a signal asked the run to stop: its ``number``, 0 as long as none has."""

    number: int = 0
    at: float = 0.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    @property
    def asked(self) -> bool:
        """Whether the run is to stop."""
        return self.number != 0

    def note(self, number: int) -> bool:
        """Remember a signal; returns whether it is a second one, which has to take effect at once."""
        if self.asked:
            return self.clock() - self.at >= TOGETHER
        self.number, self.at = number, self.clock()
        return False


def stopping_signals() -> list[int]:
    """Return the signals that stop this process by an exception: Ctrl-C, and what the command line adds."""
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    return [number for number in numbers if _stops(signal.getsignal(number))]


def _stops(found: object) -> bool:
    return found is signal.default_int_handler or isinstance(found, StopsCommand)


@contextmanager
def stop_after() -> Iterator[StopRequest]:
    """Let the block finish what it has in hand when a signal asks to stop: it sees that in ``StopRequest.asked``.

    The signal takes effect when the block ends; a second one, at once. Outside the main thread, where no
    signal arrives, nobody asks. An error in the block goes first.
    """
    stop = StopRequest()
    with _held(stopping_signals(), stop.note):
        yield stop
    if stop.number in stopping_signals():
        signal.raise_signal(stop.number)


@contextmanager
def interrupt_after() -> Iterator[None]:
    """Let the block finish before a signal that arrives in it takes effect, whatever its effect is.

    Outside the main thread, where no signal arrives, it does nothing. An error in the block goes first.
    """
    waiting: list[int] = []
    known = signal.getsignal(signal.SIGINT) is not None  # else what is in place could not be put back
    with _held({*stopping_signals(), *([signal.SIGINT] if known else [])}, waiting.append):
        yield
    for number in waiting[:1]:
        signal.raise_signal(number)


@dataclass
class _Held(StopsCommand):
    """Note a signal; let it have its usual effect where ``note`` answers True."""

    note: Callable[[int], bool | None]
    usual: Mapping[int, Any]

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.note(number):
            signal.signal(number, self.usual[number])
            signal.raise_signal(number)


@contextmanager
def _held(numbers: Iterable[int], note: Callable[[int], bool | None]) -> Iterator[None]:
    """Call ``note`` with each of these signals in the place of their effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    held = _Held(note, before)
    for number in before:
        signal.signal(number, held)
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
