"""Noting a Ctrl-C, so that it counts even where a library keeps the exception for itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from freezeplan.cli.streams import Settings


@contextmanager
def noting_interrupts(settings: Settings) -> Iterator[None]:
    """Set ``settings.interrupted`` at a Ctrl-C inside the block, which raises ``KeyboardInterrupt`` as ever.

    Nothing changes outside the main thread, or where something else than Python's own handler is in place: a
    process in the background ignores the signal.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        settings.interrupted = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
