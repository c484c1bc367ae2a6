"""Runs with tags of words for the tests of exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from freezeplan.train.run import train
from tests.train.targets import word_data
from tests.train.tiny import toy_spec

TRAINED = [{"match": "**", "state": "trainable"}]


def tags_run(place: Path, out: Path, *, tasks: dict[str, dict[str, Any]], **tables: Any) -> Path:
    """Train token tasks over the rows in ``place``, by their names; returns the run's folder."""
    kind = {"kind": "token_classification", "data": word_data(place), "dropout": 0.0}
    made = [{"name": name} | kind | more for name, more in tasks.items()]
    for task in made:
        if task.get("head") == "native":
            task.pop("dropout")
    values = {"rule": TRAINED, "optimizer": {"lr": 5e-3}, "train": {"epochs": 2, "batch_size": 16}} | tables
    return train(toy_spec(place, task=made, **values), out).folder
