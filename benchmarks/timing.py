"""Seconds of two ways to do the same, taken in turns, and what their ratios say."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch


@dataclass(frozen=True)
class Clock:
    """Read CPU seconds of this process, or, where a device computes, seconds on the wall after it has finished.

    >>> Clock("cpu").unit
    'CPU s, single-threaded'
    """

    device: str

    @property
    def unit(self) -> str:
        """What is counted, in words."""
        return "CPU s, single-threaded" if self.device == "cpu" else f"s on the wall, {self.device}"

    def read(self) -> float:
        """Return the seconds so far."""
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def seconds(self, work: Callable[[], Any]) -> float:
        """Do some work; return what it took."""
        start = self.read()
        work()
        return self.read() - start


def set_one_thread() -> Clock:
    """Let torch compute in one thread; return the clock of the device that models train on."""
    torch.set_num_threads(1)
    return Clock("cuda" if torch.cuda.is_available() else "cpu")


def median_ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """Return the median over the repeats of the ratio of two times that were taken in the same repeat.

    What else the machine does changes from repeat to repeat, and hits both times of one alike.

    >>> median_ratio([10.0, 30.0, 12.0], [5.0, 10.0, 6.0])
    2.0
    """
    return median(left / right for left, right in zip(slower, faster, strict=True))


def in_turns(works: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[Any]]:
    """Do every work once per repeat; each repeat begins with another one. Returns the results by name.

    >>> in_turns({"a": lambda: 1, "b": lambda: 2}, 2)
    {'a': [1, 1], 'b': [2, 2]}
    """
    names = list(works)
    found: dict[str, list[Any]] = {name: [] for name in names}
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(works[name]())
    return found


def against(value: float, target: str, reached: bool) -> str:
    """Return a ratio beside its target, and whether it is reached."""
    return f"{value:7.2f}x   target {target}: {'reached' if reached else 'NOT reached'}"


def at_least(value: float, target: float) -> str:
    """Return a ratio beside the least that it should be.

    >>> at_least(2.5, 3)
    '   2.50x   target >= 3x: NOT reached'
    """
    return against(value, f">= {target:g}x", value >= target)


def at_most(value: float, target: float) -> str:
    """Return a ratio beside the most that it should be.

    >>> at_most(1.1, 1.15)
    '   1.10x   target <= 1.15x: reached'
    """
    return against(value, f"<= {target:g}x", value <= target)


def write_json(path: Path | None, found: Any) -> None:
    """Write what was measured into a file, if one was asked for."""
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
