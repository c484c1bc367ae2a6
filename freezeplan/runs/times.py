"""What a run takes, phase by phase: in a file of its own, for equal runs take different times."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freezeplan.models.sealed import Altered, read_sealed, write_sealed
from freezeplan.outside.own_memory import most_memory

TIMES = "times.json"
FORMAT_VERSION = 1


@dataclass
class Times:
    """Add up the seconds of each phase over all processes that worked on the run, evaluation and saving included.

    What a process had done since it last wrote the file is lost with it when it is killed. ``cpu_seconds`` are those of
    the process on all its cores; ``peak_bytes`` is the most memory that it had held by the end of a phase, libraries
    and phases before included (0 where that cannot be told).
    """

    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)
    _cpu_since: float = field(default_factory=time.process_time)

    def note(self, phase: str) -> None:
        """Count the time since the last note as a phase's."""
        now, cpu = time.monotonic(), time.process_time()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self.cpu_seconds[phase] = self.cpu_seconds.get(phase, 0.0) + cpu - self._cpu_since
        self.peak_bytes[phase] = max(self.peak_bytes.get(phase, 0), most_memory())
        self._since, self._cpu_since = now, cpu

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
            "cpu_seconds": {phase: round(value, 3) for phase, value in self.cpu_seconds.items()},
            "peak_bytes": dict(self.peak_bytes),
        }

    def go_on(self, folder: Path) -> None:
        """Count on from what a run's folder says, if it says anything."""
        try:
            found = read_sealed(folder / TIMES)
            before = [
                {str(phase): float(value) for phase, value in table.items()}
                for table in (found["seconds"], found.get("cpu_seconds", {}), found.get("peak_bytes", {}))
            ]
        except (Altered, KeyError, TypeError, ValueError, AttributeError):
            return
        for own, table in zip((self.seconds, self.cpu_seconds), before, strict=False):
            own |= {phase: own.get(phase, 0.0) + value for phase, value in table.items()}
        for phase, value in before[2].items():
            self.peak_bytes[phase] = max(self.peak_bytes.get(phase, 0), int(value))
