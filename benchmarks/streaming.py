"""What streamed rows take beside rows in memory: peak memory at two sizes of the data, and CPU seconds.

``python -m benchmarks.streaming`` trains the same small model for the same number of steps over shards of Parquet
files, with ``stream = true`` and without, each in a process of its own. It prints the most resident memory (Linux:
``VmHWM``) and the CPU seconds of each, then what a larger set adds, and the ratios. The model is so small that reading
rows is much of the work. Both sizes have more files than are read abreast.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from benchmarks.million_rows import LABELS, MIB, WORDS, make_model, peak_bytes

BATCH, BUFFER = 32, 2_000
PER_SHARD = 10_000
SIDES = ("in memory", "streamed")


def make_shards(folder: Path, rows: int) -> None:
    """Write short rows, 6 to 60 words each, in files of 10,000."""
    chance = random.Random(rows)
    folder.mkdir()
    for number, start in enumerate(range(0, rows, PER_SHARD)):
        count = min(PER_SHARD, rows - start)
        texts = [" ".join(chance.choices(WORDS, k=chance.randint(6, 60))) for _ in range(count)]
        labels = [chance.choice(LABELS) for _ in range(count)]
        parquet.write_table(
            pyarrow.table({"text": texts, "label": labels}),
            folder / f"{number:03}.parquet",
        )


def spec_of(model: Path, shards: Path, rows: int, steps: int, streamed: bool) -> dict[str, Any]:
    """Return the spec of one side; an epoch is one pass over the rows on both."""
    data: dict[str, Any] = {"train": str(shards / "*.parquet")}
    if streamed:
        data |= {"stream": True, "steps_per_epoch": rows // BATCH, "shuffle_buffer": BUFFER}
    return {
        "model": {"source": str(model)},
        "optimizer": {"lr": 1e-3},
        "train": {"batch_size": BATCH, "seed": 1, "store": "off"},
        "phase": [{"name": "all", "steps": steps}],
        "task": [{"name": "t", "labels": sorted(LABELS), "data": data}],
        "rule": [{"match": "**", "state": "trainable"}],
    }


def run_side(model: Path, shards: Path, rows: int, steps: int, streamed: bool) -> None:
    """Train in this process; print what it took as JSON."""
    from freezeplan.spec.reading import load_spec
    from freezeplan.train.run import train

    spec = load_spec(spec_of(model, shards, rows, steps, streamed))
    before = sum(os.times()[:2])
    with tempfile.TemporaryDirectory() as out:
        train(spec, Path(out) / "run")
    print(json.dumps({"peak": peak_bytes(), "seconds": sum(os.times()[:2]) - before}))


def measured(model: Path, shards: Path, rows: int, steps: int, side: str) -> dict[str, float]:
    """Train one side in a process of its own; print and return what it took."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.streaming",
        "--side",
        side,
        "--rows",
        str(rows),
        "--steps",
        str(steps),
    ]
    settings = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(
        [*command, "--model", str(model), "--shards", str(shards)],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{rows:>9,} rows {side:>10}: peak {found['peak'] / MIB:,.0f} MiB, {found['seconds']:,.1f} CPU s",
        flush=True,
    )
    return found


def measure_all(sizes: list[int], steps: int) -> Iterator[str]:
    """Measure both sides at each size; yield the lines of the comparison."""
    with tempfile.TemporaryDirectory(prefix="freezeplan-streaming-") as name:
        folder, found = Path(name), dict[tuple[int, str], dict[str, float]]()
        make_model(folder / "model")
        for rows in sizes:
            make_shards(folder / str(rows), rows)
            for side in SIDES:
                found[rows, side] = measured(folder / "model", folder / str(rows), rows, steps, side)
    for side in SIDES:
        grown = (found[sizes[-1], side]["peak"] - found[sizes[0], side]["peak"]) / MIB
        yield f"{side}: {grown:+,.0f} MiB from {sizes[0]:,} to {sizes[-1]:,} rows"
    for rows in sizes:
        ratio = found[rows, SIDES[1]]["seconds"] / found[rows, SIDES[0]]["seconds"]
        yield f"CPU seconds of {steps:,} steps over {rows:,} rows: streamed over in memory {ratio:.2f}"


def main() -> None:
    """Read the command line, and measure all sides or run one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 400_000])
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--shards", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        run_side(given.model, given.shards, given.rows[0], given.steps, given.side == SIDES[1])
        return
    for line in measure_all(given.rows, given.steps):
        print(line)


if __name__ == "__main__":
    main()
