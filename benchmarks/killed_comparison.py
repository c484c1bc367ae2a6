"""Kill `freezeplan compare` with SIGKILL again and again, go on each time, and compare with one that nobody killed.

``python -m benchmarks.killed_comparison [--thorough] [--seed N]`` compares ways of freezing a tiny network in a process
of its own, and kills it a random moment after each of its runs has begun. It prints when, whether the verdict is the
same, and how many files of weights have the same bytes. Returns 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w

from tests.train.tiny import save_tiny_bert, toy_data, write_toy_data

NAMES = ("features", "top1", "lp_ft")
LONGEST = 0.3
POLL = 0.002


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both comparisons and print what differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.killed_comparison", description=__doc__)
    parser.add_argument("--thorough", action="store_true", help="train all candidates, by successive halving")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the moments")
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="freezeplan-killed-") as place:
        folder = Path(place)
        spec = _write(folder)
        more = ["--thorough"] if options.thorough else []
        _command(spec, folder / "whole", more).wait()
        for name in NAMES:
            print(_killed(spec, folder / "killed", more, f"runs/{name}-13", chance), flush=True)
        _command(spec, folder / "killed", more).wait()
        return _differences(folder)


def _write(folder: Path) -> Path:
    save_tiny_bert(folder / "bert")
    write_toy_data(folder)
    values = {
        "model": {"source": "bert"},
        "rule": [{"match": "**", "state": "trainable"}, {"match": "@pooler", "state": "frozen"}],
        "optimizer": {"lr": 1e-3},
        "task": [{"name": "topic", "data": toy_data(folder, "topic")}],
        "train": {"epochs": 4, "batch_size": 4, "checkpoint_steps": 8},
    }
    (folder / "topic.toml").write_text(tomli_w.dumps(values), "utf-8")
    return folder / "topic.toml"


def _command(spec: Path, out: Path, more: Sequence[str]) -> subprocess.Popen[bytes]:
    asked = ["compare", str(spec), "--strategies", ",".join(NAMES), "--out", str(out), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-m", "freezeplan", *asked]
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment)


def _killed(spec: Path, out: Path, more: Sequence[str], run: str, chance: random.Random) -> str:
    """Go on with a comparison until one of its runs is there, and kill it a little later; says how far it got."""
    process = _command(spec, out, more)
    while process.poll() is None and not (out / run).exists():
        time.sleep(POLL)
    time.sleep(delay := chance.uniform(0.0, LONGEST))
    if process.poll() is not None:
        return f"{run}: over before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    state = out / run / "run.json"
    step = json.loads(state.read_text("utf-8"))["step"] if state.is_file() else 0
    return f"killed {1000 * delay:.0f} ms after {run} began, step {step} of it saved"


def _differences(folder: Path) -> int:
    whole, killed = (_record(folder / name) for name in ("whole", "killed"))
    same = whole == killed
    files = sorted(item.relative_to(folder / "whole") for item in folder.glob("whole/runs/**/*.safetensors"))
    alike = sum(_bytes(folder / "killed" / file) == _bytes(folder / "whole" / file) for file in files)
    print(
        f"chose {killed['chosen']}; the verdict and the scores of all trials: {'equal' if same else 'OTHERS'}"
    )
    print(f"{alike} of {len(files)} files of weights have the same bytes")
    return 0 if same and alike == len(files) > 0 else 1


def _record(folder: Path) -> dict[str, Any]:
    """Return what does not depend on the time that anything took."""
    found = json.loads((folder / "comparison.json").read_text("utf-8"))
    kept = ("candidate", "score", "error", "short", "short_error", "epochs", "seeds", "finished", "front")
    rows = [{key: row[key] for key in kept} for row in found["verdict"]["rows"]]
    trials = [[item["candidate"], item["epochs"], item["scores"]] for item in found["trials"]]
    return {
        **{key: found["verdict"][key] for key in ("best", "chosen", "alike")},
        "rows": rows,
        "trials": trials,
    }


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


if __name__ == "__main__":
    raise SystemExit(main())
