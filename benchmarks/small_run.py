"""What `freezeplan train` costs before anything is learned: CPU seconds of runs on 32 rows, beside another state.

``python -m benchmarks.small_run --before CHECKOUT`` trains a tiny model and the packaged MiniLM (heads only, one
epoch, 32 rows), each in a process of its own, with the code here and with that of another checkout in turn. It
prints the CPU seconds (user and system) of each process and the median ratio of here to there. Without
``--before`` it prints those of here alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from benchmarks.minilm import SOURCE  # noqa: E402
from benchmarks.timing import median_ratio  # noqa: E402
from freezeplan.runs.spec_file import spec_text  # noqa: E402
from tests.train.tiny import FROZEN_BACKBONE, save_tiny_bert, toy_data, toy_spec, write_toy_data  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
ROWS = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both models and print what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small_run", description=__doc__)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="the state to compare with")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats (default: 5)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="freezeplan-small-") as place:
        folder = Path(place)
        for name, spec in _specs(folder).items():
            _compare(name, spec, options.before, options.repeats, folder)
    return 0


def _specs(folder: Path) -> dict[str, Path]:
    """Write the data, the tiny model and one spec for each model; return the specs' files."""
    write_toy_data(folder, train=ROWS, other=8)
    save_tiny_bert(folder / "bert")
    tasks = [{"name": "topic", "data": toy_data(folder, "topic"), "labels": ["app", "mail", "shop"]}]
    sources = {"tiny BERT": str(folder / "bert"), "MiniLM": SOURCE}
    found = {}
    for name, source in sources.items():
        spec = toy_spec(
            folder,
            model={"source": source},
            task=tasks,
            rule=FROZEN_BACKBONE,
            train={"epochs": 1, "batch_size": 16},
        )
        found[name] = folder / f"{name.partition(' ')[0]}.toml"
        found[name].write_text(spec_text(spec), "utf-8")
    return found


def _compare(name: str, spec: Path, before: Path | None, repeats: int, folder: Path) -> None:
    sides = {"here": ROOT, **({"before": before.resolve()} if before else {})}
    for side in sides.values():
        cpu_seconds(side, spec, folder / "warm")  # so that no side writes its compiled modules in a timed run
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(repeats):
        for side, checkout in sides.items():
            seconds[side].append(cpu_seconds(checkout, spec, folder / f"run{number}"))
    for side, found in seconds.items():
        print(
            f"{name}, {side}: {', '.join(f'{value:.2f}' for value in found)} CPU s, median {median(found):.2f}"
        )
    if before:
        print(f"{name}: {median_ratio(seconds['here'], seconds['before']):.2f} x before", flush=True)


def cpu_seconds(checkout: Path, spec: Path, out: Path) -> float:
    """Train a spec in a process of its own with the code of a checkout; return its CPU seconds."""
    words = [sys.executable, "-m", "freezeplan", "train", str(spec), "--out", str(out)]
    variables = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "FREEZEPLAN_CACHE": "off"}
    # As installed: what is compiled once is not compiled in each run.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    start = _spent()
    done = subprocess.run(words, cwd=checkout, env=variables, capture_output=True, text=True)
    spent = _spent() - start
    if done.returncode:
        raise SystemExit(f"the run with {checkout} failed:\n{done.stderr}")
    shutil.rmtree(out)
    return spent


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
