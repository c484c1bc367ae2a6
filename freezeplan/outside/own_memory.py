"""The most memory that this process has held, as the operating system tells it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

STATUS = Path("/proc/self/status")


def most_memory() -> int:
    """Return the most bytes that were resident at a time, libraries included (``VmHWM``, Linux); 0 elsewhere."""
    with suppress(OSError, ValueError, IndexError):
        lines = STATUS.read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
    return 0
