"""How long a run takes, phase by phase: in a file of its own, for equal runs take different times."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freezeplan.models.sealed import Altered, read_sealed, write_sealed

TIMES = "times.json"
FORMAT_VERSION = 1


@dataclass
class Times:
    """Add up the seconds of each phase over all processes that worked on the run, evaluation and saving included.

    What a process had done since it last wrote the file is lost with it when it is killed.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def note(self, phase: str) -> None:
        """Count the time since the last note as a phase's."""
        now = time.monotonic()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now

    def write(self, folder: Path) -> None:
        """Write ``times.json``."""
        write_sealed(folder / TIMES, self.as_record())

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form."""
        seconds = {phase: round(value, 3) for phase, value in self.seconds.items()}
        return {
            "format_version": FORMAT_VERSION,
            "seconds": seconds,
            "total": round(sum(seconds.values()), 3),
        }

    def go_on(self, folder: Path) -> None:
        """Count on from what a run's folder says, if it says anything."""
        try:
            found = read_sealed(folder / TIMES)["seconds"]
            before = {str(phase): float(value) for phase, value in found.items()}
        except (Altered, KeyError, TypeError, ValueError, AttributeError):
            return
        for phase, value in before.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + value
