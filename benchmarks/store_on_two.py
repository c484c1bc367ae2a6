"""Fill the store of a frozen prefix in one process and in two that replicate the model, and compare what it takes.

``python -m benchmarks.store_on_two [--rows N]`` trains the top of a BERT (6 layers of 384), the rest frozen, with a
store in memory and with one in a file, and prints for each process the CPU seconds of filling the store, their ratio to
those of one process, the bytes on disk, and how far the weights come apart. Two processes should take half as long
each. It fails where one takes more than 0.75 of one process's seconds, or the weights differ by more than 1e-5.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.two_ranks import make_inputs
from freezeplan.models.run_weights import weights_of_run
from freezeplan.prefix.store import PrefixStore
from freezeplan.runs.events import ignore_events
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.reading import load_spec
from freezeplan.train.session import Session
from freezeplan.train.setup import prepare
from tests.train.phased import phased_spec
from tests.train.ranked import FORKED, ROOT, environment, write_spec

BUDGETS = {"memory": "1GiB", "file": "1KiB"}
MOST, APART = 0.75, 1e-5


def write_task(folder: Path, where: str) -> Path:
    """Write the spec of two steps of the last layer and of heads, on what is frozen."""
    top = {"match": "@layers[-1:]", "state": "trainable"}
    phases = [{"name": "top", "steps": 2, "rule": [top]}]
    train = {"batch_size": 32, "store": "require", "store_budget": BUDGETS[where]}
    spec = phased_spec(folder, phases, train=train, optimizer={"name": "sgd", "lr": 1e-3})
    tasks = [task.model_copy(update={"dropout": 0.0}) for task in spec.task]
    return write_spec(spec.model_copy(update={"task": tasks}), folder / f"{where}.toml")


def measure(spec: Path, out: Path) -> None:
    """Train, and write down the CPU seconds of filling the store and the bytes of its files."""
    fill = PrefixStore.prepare
    found: list[float] = []

    def timed(store: PrefixStore, *arguments: Any, **more: Any) -> Any:
        begun = time.process_time()
        told = fill(store, *arguments, **more)
        found.append(time.process_time() - begun)
        found.append(sum(item.stat().st_size for item in out.glob("store*/*.bin")))
        return told

    PrefixStore.prepare = timed
    Session(prepare(load_spec(spec)), RunFolder(out), ignore_events).run()
    rank = os.environ.get("RANK", "0")
    Path(f"{out}-{rank}").write_text(" ".join(map(str, found)), "utf-8")


def ran(spec: Path, out: Path, ranks: int) -> list[tuple[float, float]]:
    """Train in some fresh processes; returns the seconds and bytes of each."""
    launcher = FORKED if ranks > 1 else ()
    words = [sys.executable, *launcher, "-m", "benchmarks.store_on_two", "--measure", str(spec), str(out)]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    rows = [Path(f"{out}-{rank}").read_text("utf-8").split() for rank in range(ranks)]
    return [(float(row[0]), float(row[1])) for row in rows]


def compare(folder: Path, where: str) -> bool:
    """Print the lines of one kind of store; returns whether all is as it should be."""
    spec, fine = write_task(folder, where), True
    outs = [folder / f"{where}-{count}" for count in (1, 2)]
    (alone,), both = (ran(spec, out, count) for out, count in zip(outs, (1, 2), strict=True))
    print(f"{where:8}{'one':10}{alone[0]:8.2f}{1.0:8.2f}{alone[1] / 1e6:10.1f}")
    for number, (seconds, size) in enumerate(both):
        share = seconds / alone[0]
        print(f"{where:8}{f'two, {number}':10}{seconds:8.2f}{share:8.2f}{size / 1e6:10.1f}")
        fine = fine and share <= MOST
    one, two = map(weights_of_run, outs)
    apart = max(float((two[name] - value).abs().max()) for name, value in one.items())
    print(f"{where:8}largest difference of a weight {apart:.1e}", flush=True)
    return fine and apart <= APART


def main() -> int:
    """Compare, or do one process's part of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_on_two")
    parser.add_argument("--rows", type=int, default=3000, help="training rows")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(*asked.measure)
        return 0
    print(f"{'store':8}{'process':10}{'CPU s':>8}{'of one':>8}{'MB disk':>10}")
    with tempfile.TemporaryDirectory() as name:
        make_inputs(Path(name), asked.rows, layers=6, heads=12)
        return 0 if all([compare(Path(name), where) for where in BUDGETS]) else 1


if __name__ == "__main__":
    sys.exit(main())
