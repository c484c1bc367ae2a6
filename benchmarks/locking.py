"""What `lock`, `diff` and `check --locked` cost on a model of 300 layers that was seen before, beside `show`.

``python -m benchmarks.locking [--repeats N]`` prints the CPU seconds of each command in a process of its own, and the
median of their ratios to a `show` of the same repeat. The model's inventory is in the cache.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.timing import at_most, in_turns, median_ratio

SPEC = """
[model.config]
model_type = "bert"
num_hidden_layers = 300
hidden_size = 32
intermediate_size = 64
num_attention_heads = 2
vocab_size = 100

[[rule]]
name = "everything"
match = "**"
state = "frozen"

[[rule]]
name = "upper"
match = "@layers[-100:]"
state = "trainable"
lr_mult = {rate}

[[rule]]
name = "heads"
match = "heads"
state = "trainable"

[[task]]
name = "topic"
labels = ["a", "b"]
"""
TARGET = 1.5
COMMANDS: dict[str, tuple[str, ...]] = {
    "show": ("show", "a.toml"),
    "lock, unchanged": ("lock", "a.toml"),
    "check --locked": ("check", "a.toml", "--locked"),
    "diff spec lock": ("diff", "a.toml", "a.lock"),
    "diff lock spec that differs": ("diff", "a.lock", "b.toml"),
    "diff spec spec": ("diff", "a.toml", "b.toml"),
    "diff spec plan": ("diff", "a.toml", "b.json"),
}


def cpu_seconds(folder: Path, arguments: tuple[str, ...]) -> float:
    """Return the CPU seconds of one command in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(folder, arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(folder: Path, arguments: tuple[str, ...]) -> None:
    root = str(Path(__file__).parents[1])
    kept = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    environment = {**kept, "FREEZEPLAN_CACHE": "on", "FREEZEPLAN_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-m", "freezeplan", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        raise SystemExit(done.stderr)


def main() -> None:
    """Print one line per command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    with TemporaryDirectory() as name:
        folder = Path(name)
        for spec, rate in (("a", 0.5), ("b", 0.25)):
            (folder / f"{spec}.toml").write_text(SPEC.format(rate=rate), "utf-8")
        for arguments in (("lock", "a.toml"), ("show", "b.toml", "--out", "b.json")):
            _run(folder, arguments)
        works: dict[str, Callable[[], float]] = {
            label: partial(cpu_seconds, folder, arguments) for label, arguments in COMMANDS.items()
        }
        found = in_turns(works, repeats)
    for label, seconds in found.items():
        ratio = median_ratio(seconds, found["show"])
        print(f"{label:28}{median(seconds):6.2f} CPU s {at_most(ratio, TARGET)}")


if __name__ == "__main__":
    main()
