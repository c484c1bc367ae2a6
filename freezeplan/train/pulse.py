"""A sign of life for who watches lines: what a run is at, when half a minute has passed without one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

EVERY = 30.0
LOOK = 1.0


class Pulse:
    """Print a line at least every 30 seconds of ``clock``: ``now`` says what goes on, empty for nothing.

    :meth:`beat` looks once; between :meth:`start` and :meth:`stop` a thread looks every second, so that lines
    come while nothing else does.
    """

    def __init__(self, line: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.now = ""
        self._line, self._clock = line, clock
        self._last = clock()
        self._over = threading.Event()
        self._lock = threading.Lock()

    def heard(self) -> None:
        """Note that a line was printed just now."""
        with self._lock:
            self._last = self._clock()

    def beat(self) -> None:
        """Print what goes on when the last line is 30 seconds old."""
        with self._lock:
            due = bool(self.now) and self._clock() - self._last >= EVERY
            if due:
                self._last = self._clock()
        if due:
            self._line(self.now)

    def start(self) -> None:
        """Look every second from now on."""
        threading.Thread(target=self._look, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(LOOK):
            self.beat()
