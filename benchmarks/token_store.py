"""Train tags of words over the store and with transformers' Trainer: the same frozen model, batches and epochs.

``python -m benchmarks.token_store [--data FOLDER] [--set NAME] [--epochs N] [--json FILE]`` trains a head over words on
the real MiniLM, all of it frozen, and prints how many times longer transformers' Trainer takes with
``AutoModelForTokenClassification`` whose base model is frozen in the same way. Both get the same sentences in the same
batches, AdamW (fused), clipping and rate. Ours counts all that it does after data and model are loaded: filling the
store, an evaluation, hashes and a checkpoint for every epoch. The Trainer evaluates nothing and saves nothing; three of
its epochs are run, and N epochs count N times the median. An epoch of the later ones is compared as well.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from transformers import AutoModelForTokenClassification

from benchmarks.minilm import BATCH_SIZE, SEED, SHARED, SOURCE, lengths_line
from benchmarks.our_run import OurRun, timed_run
from benchmarks.same_batches import trainer_on
from benchmarks.stock_trainer import EpochTimes
from benchmarks.timing import Clock, at_least, set_one_thread, write_json
from freezeplan.api import load_spec
from freezeplan.models.resolve import resolve_source
from freezeplan.outside.quiet import quiet
from freezeplan.spec.tables import Spec
from freezeplan.train.setup import Setup, prepare

TASK = "tags"
SETS = ("wikigold", "ewt_upos")
TARGET = 6.0
THEIR_EPOCHS = 3


def spec_of(folder: Path, epochs: int) -> Spec:
    """Return the spec of a head over words on the frozen backbone."""
    files = {split: str(folder / f"{split}.jsonl") for split in ("train", "validation")}
    return load_spec(
        {
            "model": {"source": SOURCE},
            "optimizer": {"name": "adamw", "lr": 1e-2},
            "schedule": {"name": "constant"},
            "rule": [
                {"name": "backbone", "match": "@backbone", "state": "frozen"},
                {"name": "heads", "match": "heads", "state": "trainable"},
            ],
            "task": [
                {
                    "name": TASK,
                    "kind": "token_classification",
                    "data": files | {"tokens": "tokens", "tags": "tags"},
                }
            ],
            "train": {
                "epochs": epochs,
                "batch_size": BATCH_SIZE,
                "seed": SEED,
                "max_length": 256,
                "clip_norm": 1.0,
            },
        }
    )


def stock_model(setup: Setup) -> Any:
    """Return transformers' own model of tags, its base model frozen."""
    source = resolve_source(setup.spec)
    with quiet():
        model = AutoModelForTokenClassification.from_pretrained(
            source.folder, num_labels=len(setup.tasks[0].labels)
        )
    model.base_model.requires_grad_(False)
    return model


def trainer_epochs(setup: Setup, clock: Clock) -> list[float]:
    """Train a few epochs with a Trainer; return what each took, from its first step to its last."""
    times = EachEpoch(clock)
    with tempfile.TemporaryDirectory() as folder, quiet():
        model = stock_model(setup)
        trainer = trainer_on(setup, model, folder, epochs=THEIR_EPOCHS, device=clock.device)
        trainer.add_callback(times)
        trainer.train()
    return times.found


class EachEpoch(EpochTimes):
    """Note what every epoch takes."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.found: list[float] = []

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Stop, and keep the seconds."""
        super().on_epoch_end()
        self.found.append(self.seconds)


def lines(epochs: int, ours: OurRun, theirs: list[float]) -> list[str]:
    """Return the ratios, then the seconds behind them."""
    evaluating = median(epoch.saving for epoch in ours.epochs)
    return [
        f"{epochs} epochs  {at_least(epochs * median(theirs) / ours.seconds, TARGET)}",
        f"a later epoch {median(theirs) / ours.later_steps:7.1f}x",
        f"seconds of an epoch: Trainer {median(theirs):.2f}; ours {ours.later_steps:.3f} in steps and "
        f"{evaluating:.3f} for evaluation, hashes and saving,",
        f"after {ours.epochs[0].choosing:.2f} for the cut and the store, {ours.rest:.2f} at the end; "
        f"{ours.seconds:.1f} in all",
        *ours.statements,
    ]


def main() -> None:
    """Read the command line, run both, and print what came out."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.token_store")
    made.add_argument("--data", type=Path, default=SHARED, help="folder of the data sets")
    made.add_argument("--set", choices=SETS, default=SETS[0], help=f"data set (default: {SETS[0]})")
    made.add_argument("--epochs", type=int, default=10, help="epochs of a run (default: 10)")
    made.add_argument("--json", type=Path, help="also write the numbers to a file")
    asked = made.parse_args()
    clock, spec = set_one_thread(), spec_of(asked.data / asked.set, asked.epochs)
    setup = prepare(spec)
    widths = setup.data["train"][TASK].inputs.widths.tolist()
    print(
        f"MiniLM frozen, {asked.set}: {lengths_line(widths)}, batches of {BATCH_SIZE}; {clock.unit}",
        flush=True,
    )
    ours = timed_run(spec, clock)
    theirs = trainer_epochs(setup, clock)
    print(*lines(asked.epochs, ours, theirs), sep="\n")
    write_json(
        asked.json,
        {
            "set": asked.set,
            "epochs": asked.epochs,
            "ratio": asked.epochs * median(theirs) / ours.seconds,
            "trainer_epochs": theirs,
            "ours": ours.seconds,
        },
    )


if __name__ == "__main__":
    main()
