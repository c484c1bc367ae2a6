"""Train tags of words in batches of similar length and in batches at random: what it does to scores.

``python -m benchmarks.length_buckets [--data FOLDER] [--set NAME] [--seeds N]`` trains a head over words on the frozen
real MiniLM in three ways: in batches of similar length as the trainer does, each step weighing as its words; the same
with every step weighing alike, as a mean over a batch's words has it; and in batches at random. It prints the scores on
validation and on test data of every run, and the means.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from benchmarks.minilm import SHARED
from benchmarks.shared_kinds import SETS, TASK, VARIANTS, spec_of
from freezeplan.api import load_spec
from freezeplan.train.loop import Loop
from freezeplan.train.run import train

WAYS = ("as its words", "alike", "at random")
OVER_WORDS = [name for name, chosen in SETS.items() if chosen.kind == "token_classification"]


@contextmanager
def weighing_alike() -> Iterator[None]:
    """Let every step weigh alike within the block."""
    share = Loop.share
    Loop.share = lambda self, task, terms: 1.0
    try:
        yield
    finally:
        Loop.share = share


def scores(data: Path, name: str, way: str, seed: int) -> tuple[float, float]:
    """Train in one way; return the score on validation and on test data."""
    spec = spec_of(data, SETS[name], VARIANTS["frozen"])
    spec["train"] |= {"seed": seed, "length_buckets": way != "at random"}
    with tempfile.TemporaryDirectory() as out:
        if way == "alike":
            with weighing_alike():
                result: Any = train(load_spec(spec), Path(out) / "run")
        else:
            result = train(load_spec(spec), Path(out) / "run")
    metric = SETS[name].metric
    return result.validation[TASK][metric], result.test[TASK][metric]


def main() -> None:
    """Run all ways with some seeds."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.length_buckets")
    made.add_argument("--data", type=Path, default=SHARED, help="folder of the data sets")
    made.add_argument("--set", choices=OVER_WORDS, default="ewt_upos", help="data set (default: ewt_upos)")
    made.add_argument("--seeds", type=int, default=1, help="runs of each way (default: 1)")
    asked = made.parse_args()
    torch.set_num_threads(1)
    print(f"{asked.set}, MiniLM frozen\n{'a step weighs':14} {'seed':>4} {'validation':>10} {'test':>6}")
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for seed in range(13, 13 + asked.seeds):
        for way in WAYS:
            found[way].append(scores(asked.data, asked.set, way, seed))
            print(f"{way:14} {seed:4} {found[way][-1][0]:10.4f} {found[way][-1][1]:6.4f}", flush=True)
    for way, pairs in found.items():
        validation, test = (mean(side) for side in zip(*pairs, strict=True))
        print(f"{way:14} mean {validation:10.4f} {test:6.4f}")


if __name__ == "__main__":
    main()
