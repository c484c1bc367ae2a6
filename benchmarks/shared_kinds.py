"""Train tasks of every kind on real sets with the real MiniLM: frozen, its upper two layers thawed, all of it thawed.

``python -m benchmarks.shared_kinds [--data FOLDER] [--set NAME] [--variant NAME] [--seed N] [--cut N]`` prints a line
per run: the score on test data after the best epoch by validation, the least that is expected of a frozen backbone,
what a reference of frozen features reaches (logistic regression on states of first word pieces, ridge or the bare
cosine on pooled vectors; the sets' README), and CPU seconds. ``--set``, ``--variant``, ``--seed`` and ``--cut`` can be
repeated.

A cut divides all rows of a set's three files anew, by chance, into parts of the same sizes: what was chosen on the
sets' own validation data is tried on rows that it was not chosen by. Pairs of one text may then stand in two parts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.minilm import SEED, SHARED, SOURCE
from freezeplan.api import load_spec
from freezeplan.train.run import train

TASK = "t"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class SharedSet:
    """Say how one set is learned: the task's kind and columns, the metric, and what is expected of it.

    ``reference`` is what frozen features reach, ``least`` maps variants to the least that a run should. ``decay`` is
    the weight decay of the head, where it is not the optimizer's.
    """

    folder: str
    kind: str
    columns: dict[str, str]
    metric: str
    reference: float
    least: dict[str, float]
    more: dict[str, Any]
    decay: float | None = None

    @property
    def has_head(self) -> bool:
        """Whether its head has tensors."""
        return self.kind != "similarity" or "head" in self.more


WORDS = {"tokens": "tokens", "tags": "tags"}
PAIRS = {"text": "text_a", "text_pair": "text_b", "label": "score"}
SETS = {
    "wikigold": SharedSet(
        "wikigold",
        "token_classification",
        WORDS,
        "strict_span_f1",
        0.354,
        {"frozen": 0.34, "all": 0.50},
        {},
    ),
    "snips slots": SharedSet(
        "snips", "token_classification", WORDS, "strict_span_f1", 0.641, {"frozen": 0.62}, {}
    ),
    "ewt_upos": SharedSet("ewt_upos", "token_classification", WORDS, "accuracy", 0.847, {"frozen": 0.84}, {}),
    "stsb_images": SharedSet(
        "stsb_images", "similarity", PAIRS, "pearson", 0.913, {"upper": 0.915}, {"max_score": 5.0}
    ),
    "stsb compared": SharedSet(
        "stsb_images",
        "similarity",
        PAIRS,
        "pearson",
        0.920,
        {"frozen": 0.915},
        {"max_score": 5.0, "head": "compare"},
        1.0,
    ),
}
HEADS = {"name": "heads", "match": "heads", "state": "trainable", "optional": True}
FROZEN = {"name": "backbone", "match": "@backbone", "state": "frozen"}


@dataclass(frozen=True)
class Variant:
    """Say what trains, at which rates (of the backbone and of the head), and for how many epochs."""

    thawed: tuple[str, ...]
    lr: float
    head: float
    epochs: int

    def rules(self, has_head: bool, decay: float | None = None) -> list[dict[str, Any]]:
        """Return the rules of a spec; ``decay`` is the head's weight decay, if it has one of its own."""
        found: list[dict[str, Any]] = [FROZEN]
        if self.thawed:
            found.append({"name": "thawed", "match": list(self.thawed), "state": "trainable"})
        if has_head:
            own = {} if decay is None else {"weight_decay": decay}
            found.append({"name": "heads", "match": "heads", "state": "trainable", "lr": self.head} | own)
        return found


VARIANTS = {
    "frozen": Variant((), 1e-3, 3e-2, 10),
    "upper": Variant(("@layers[-2:]",), 2e-4, 1e-2, 4),
    "all": Variant(("@embeddings", "@layers"), 2e-4, 3e-3, 5),
}


def spec_of(folder: Path, chosen: SharedSet, variant: Variant, seed: int = SEED) -> dict[str, Any]:
    """Return the spec of one run over the three files in a folder as a dict."""
    files = {split: str(folder / f"{split}.jsonl") for split in SPLITS}
    task = {"name": TASK, "kind": chosen.kind, "data": files | chosen.columns, **chosen.more}
    if chosen.columns is WORDS:
        task["labels"] = tags_of(files.values())
    trains = chosen.has_head or variant.thawed
    train = {"epochs": variant.epochs, "restore_best": f"{TASK}/{chosen.metric}"} if trains else {}
    return {
        "model": {"source": SOURCE, "pooling": "mean"},
        "optimizer": {"lr": variant.lr},
        "schedule": {"name": "linear", "warmup": 0.06},
        "rule": variant.rules(chosen.has_head, chosen.decay),
        "task": [task],
        "train": {"batch_size": 32, "max_length": 256, "seed": seed} | train,
    }


def tags_of(files: Sequence[str] | Any) -> list[str]:
    """Return the tags of all splits: some stand in a test split alone."""
    rows = (json.loads(line) for file in files for line in Path(file).read_text("utf-8").splitlines())
    return sorted({tag for row in rows for tag in row["tags"]})


def cut_anew(folder: Path, seed: int, out: Path) -> Path:
    """Divide the rows of three files anew, by chance, into parts of the same sizes; returns the folder."""
    parts = [(folder / f"{split}.jsonl").read_text("utf-8").splitlines() for split in SPLITS]
    rows = [line for part in parts for line in part]
    random.Random(seed).shuffle(rows)
    for split, part in zip(SPLITS, parts, strict=True):
        (out / f"{split}.jsonl").write_text("\n".join(rows[: len(part)]) + "\n", "utf-8")
        del rows[: len(part)]
    return out


def run(data: Path, name: str, variant: str, seed: int = SEED, cut: int | None = None) -> str:
    """Train one set in one way; return its line."""
    chosen, start = SETS[name], time.process_time()
    with tempfile.TemporaryDirectory() as out:
        folder = data / chosen.folder
        folder = folder if cut is None else cut_anew(folder, cut, Path(out))
        spec = load_spec(spec_of(folder, chosen, VARIANTS[variant], seed))
        result = train(spec, Path(out) / "run")
    score, least = result.test[TASK][chosen.metric], chosen.least.get(variant) if cut is None else None
    said = f"{least:.3f} {'reached' if score >= least else 'NOT reached'}" if least else "-"
    seconds = time.process_time() - start
    return (
        f"{name:13} {variant:7} {seed:>4} {'-' if cut is None else cut:>3} {chosen.metric:15} {score:6.4f}  "
        f"{said:18} {chosen.reference:9.3f} {seconds:7.0f}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sets in all ways that were asked for."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.shared_kinds")
    made.add_argument("--data", type=Path, default=SHARED, help="folder of the data sets")
    made.add_argument("--set", choices=SETS, action="append", help="only this set; repeatable")
    made.add_argument("--variant", choices=VARIANTS, action="append", help="only this variant; repeatable")
    made.add_argument("--seed", type=int, action="append", help="of the run; repeatable")
    made.add_argument(
        "--cut", type=int, action="append", help="divide the rows anew, by this seed; repeatable"
    )
    asked = made.parse_args(arguments)
    torch.set_num_threads(1)
    print(
        f"{'set':13} {'thawed':7} {'seed':>4} {'cut':>3} {'metric':15} {'test':>6}  "
        f"{'at least':18} {'reference':>9} {'CPU s':>7}"
    )
    ways = itertools.product(
        asked.variant or VARIANTS, asked.set or SETS, asked.cut or [None], asked.seed or [SEED]
    )
    for variant, name, cut, seed in ways:
        print(run(asked.data, name, variant, seed, cut), flush=True)


if __name__ == "__main__":
    main()
