"""Train tasks of every kind on real sets with the real MiniLM: frozen, its upper two layers thawed, all of it thawed.

``python -m benchmarks.shared_kinds [--data FOLDER] [--set NAME] [--variant NAME]`` prints a line per run: the score on
test data after the best epoch by validation, the least that is expected of a frozen backbone, what a reference of
frozen features reaches (logistic regression on states of first word pieces, ridge or the bare cosine on pooled
vectors; the sets' README), and CPU seconds. ``--set`` and ``--variant`` can be repeated.
"""

from __future__ import annotations

import argparse
import json
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


@dataclass(frozen=True)
class SharedSet:
    """Say how one set is learned: the task's kind and columns, the metric, and what is expected of it.

    ``reference`` is what frozen features reach, ``least`` maps variants to the least that a run should.
    """

    folder: str
    kind: str
    columns: dict[str, str]
    metric: str
    reference: float
    least: dict[str, float]
    more: dict[str, Any]


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

    def rules(self, has_head: bool) -> list[dict[str, Any]]:
        """Return the rules of a spec."""
        found: list[dict[str, Any]] = [FROZEN]
        if self.thawed:
            found.append({"name": "thawed", "match": list(self.thawed), "state": "trainable"})
        if has_head:
            found.append({"name": "heads", "match": "heads", "state": "trainable", "lr": self.head})
        return found


VARIANTS = {
    "frozen": Variant((), 1e-3, 3e-2, 10),
    "upper": Variant(("@layers[-2:]",), 2e-4, 1e-2, 4),
    "all": Variant(("@embeddings", "@layers"), 2e-4, 3e-3, 5),
}


def spec_of(data: Path, chosen: SharedSet, variant: Variant) -> dict[str, Any]:
    """Return the spec of one run as a dict."""
    files = {split: str(data / chosen.folder / f"{split}.jsonl") for split in ("train", "validation", "test")}
    task = {"name": TASK, "kind": chosen.kind, "data": files | chosen.columns, **chosen.more}
    has_head = chosen.kind != "similarity"
    if chosen.columns is WORDS:
        task["labels"] = tags_of(files.values())
    trains = has_head or variant.thawed
    train = {"epochs": variant.epochs, "restore_best": f"{TASK}/{chosen.metric}"} if trains else {}
    return {
        "model": {"source": SOURCE, "pooling": "mean"},
        "optimizer": {"lr": variant.lr},
        "schedule": {"name": "linear", "warmup": 0.06},
        "rule": variant.rules(has_head),
        "task": [task],
        "train": {"batch_size": 32, "max_length": 256, "seed": SEED} | train,
    }


def tags_of(files: Sequence[str] | Any) -> list[str]:
    """Return the tags of all splits: some stand in a test split alone."""
    rows = (json.loads(line) for file in files for line in Path(file).read_text("utf-8").splitlines())
    return sorted({tag for row in rows for tag in row["tags"]})


def run(data: Path, name: str, variant: str) -> str:
    """Train one set in one way; return its line."""
    chosen, start = SETS[name], time.process_time()
    with tempfile.TemporaryDirectory() as out:
        result = train(load_spec(spec_of(data, chosen, VARIANTS[variant])), Path(out) / "run")
    score, least = result.test[TASK][chosen.metric], chosen.least.get(variant)
    said = f"{least:.3f} {'reached' if score >= least else 'NOT reached'}" if least else "-"
    seconds = time.process_time() - start
    return f"{name:12} {variant:8} {chosen.metric:15} {score:6.3f}  {said:18} {chosen.reference:9.3f} {seconds:7.0f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sets in all ways that were asked for."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.shared_kinds")
    made.add_argument("--data", type=Path, default=SHARED, help="folder of the data sets")
    made.add_argument("--set", choices=SETS, action="append", help="only this set; repeatable")
    made.add_argument("--variant", choices=VARIANTS, action="append", help="only this variant; repeatable")
    asked = made.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{'set':12} {'thawed':8} {'metric':15} {'test':>6}  {'at least':18} {'reference':>9} {'CPU s':>7}")
    for variant in asked.variant or VARIANTS:
        for name in asked.set or SETS:
            print(run(asked.data, name, variant), flush=True)


if __name__ == "__main__":
    main()
