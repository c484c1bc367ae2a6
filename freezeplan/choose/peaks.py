"""The most memory that this process held while some work went on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from freezeplan.outside.own_memory import most_memory

CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What resets ``VmHWM``: proc_pid_clear_refs(5) of Linux."""


@dataclass
class PeakMemory:
    """Hold the bytes, once the work is done; 0 where they cannot be told."""

    bytes: int = 0


@contextmanager
def measured_peak() -> Iterator[PeakMemory]:
    """Measure the most memory while the block runs: of the accelerator where there is one, else of the process.

    That of the process holds all that lives in it, libraries and what other runs left to share included. It can be
    told on Linux.
    """
    found, device = PeakMemory(), torch.cuda.is_available()
    if device:
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):
            CLEAR.write_text(RESET_PEAK)
    try:
        yield found
    finally:
        found.bytes = torch.cuda.max_memory_allocated() if device else most_memory()
