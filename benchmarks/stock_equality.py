"""Train a native head by the bundled trainer, and the stock class by transformers' Trainer: how far apart they end.

``python -m benchmarks.stock_equality [--data FOLDER]`` trains the whole real MiniLM without dropout for 20 steps on
the same batches of real sentences, once with the bundled trainer and a native head, once with transformers' Trainer and
``AutoModelForSequenceClassification`` (customer reviews) or ``AutoModelForTokenClassification`` (named entities), from
the same first weights. It prints how many tensors there are, the largest difference between any two numbers of
them, and how far training moved them at most.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from benchmarks.minilm import SHARED, SOURCE
from benchmarks.same_batches import trainer_on
from freezeplan.api import load_spec
from freezeplan.models.resolve import resolve_source
from freezeplan.models.run_weights import weights_of_run
from freezeplan.outside.quiet import quiet
from freezeplan.spec.tables import Spec
from freezeplan.train.run import train
from freezeplan.train.setup import Setup, prepare

STEPS, BATCH = 20, 8
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
CASES = {
    "cr": ("classification", {"text": "text", "label": "label"}, AutoModelForSequenceClassification),
    "wikigold": (
        "token_classification",
        {"tokens": "tokens", "tags": "tags"},
        AutoModelForTokenClassification,
    ),
}


def spec_of(data: Path, name: str, folder: Path) -> Spec:
    """Return the spec of one task with a native head over the first rows of a set."""
    kind, columns, _ = CASES[name]
    lines = (data / name / "train.jsonl").read_text("utf-8").splitlines()[: STEPS * BATCH]
    rows = folder / f"{name}.jsonl"
    rows.write_text("\n".join(lines) + "\n", "utf-8")
    task = {"name": "t", "kind": kind, "head": "native", "data": {"train": str(rows), **columns}}
    return load_spec(
        {
            "model": {"source": str(still_model(folder))},
            "optimizer": {"lr": 2e-5, "weight_decay": 0.01},
            "schedule": {"name": "linear"},
            "rule": [{"name": "everything", "match": "**", "state": "trainable"}],
            "task": [task],
            "train": {
                "epochs": 1,
                "batch_size": BATCH,
                "max_length": 64,
                "clip_norm": 1.0,
                # Else steps weigh as their words, which a Trainer's do not.
                "length_buckets": False,
            },
        }
    )


def still_model(folder: Path) -> Path:
    """Copy the model into a folder, without dropout; returns the copy."""
    source = resolve_source(load_spec({"model": {"source": SOURCE}})).folder
    copy = Path(shutil.copytree(source, folder / "model"))
    config = json.loads((copy / "config.json").read_text("utf-8"))
    (copy / "config.json").write_text(json.dumps(config | STILL), "utf-8")
    return copy


def trained_stock(setup: Setup, stock_class: Any, folder: Path) -> tuple[Any, float]:
    """Train the stock class from the weights that our model begins with; return it, and how far its weights moved."""
    config = setup.model.backbone.config
    config.num_labels = len(setup.tasks[0].labels)
    stock = stock_class.from_config(config)
    begun = of_stock(setup.model.state_dict(), stock)
    stock.load_state_dict(begun)
    trainer_on(setup, stock, str(folder / "trainer")).train()
    return stock, largest(begun, stock.state_dict())


def of_stock(tensors: dict[str, torch.Tensor], stock: Any) -> dict[str, torch.Tensor]:
    """Return tensors under the names that a stock BERT has for them; one for tags has no pooler."""
    renamed = {
        name.replace("backbone.", "bert.").replace("heads.t.", ""): tensor.clone()
        for name, tensor in tensors.items()
    }
    return {name: renamed[name] for name in stock.state_dict()}


def largest(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    """Return the largest difference between two sets of tensors of the same names."""
    assert left.keys() == right.keys(), sorted(left.keys() ^ right.keys())
    return max(float((left[name] - value).abs().max()) for name, value in right.items())


def compare(data: Path, name: str) -> str:
    """Train one case on both sides; return its line."""
    with tempfile.TemporaryDirectory() as place, quiet():
        folder = Path(place)
        spec = spec_of(data, name, folder)
        stock, moved = trained_stock(prepare(spec), CASES[name][2], folder)
        train(spec, folder / "run")
        found = of_stock(weights_of_run(folder / "run"), stock)
    apart = largest(found, stock.state_dict())
    return f"{name:10} {CASES[name][0]:22} {len(found):7} {apart:18.1e} {moved:12.1e}"


def main() -> None:
    """Compare both classes."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.stock_equality")
    made.add_argument("--data", type=Path, default=SHARED, help="folder of the data sets")
    asked = made.parse_args()
    torch.set_num_threads(1)
    print(f"{'set':10} {'kind':22} {'tensors':>7} {'largest difference':>18} {'moved by':>12}")
    for name in CASES:
        print(compare(asked.data, name), flush=True)


if __name__ == "__main__":
    main()
