"""Runs of every kind over the tiny models, for what must hold of each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from freezeplan.spec.tables import Spec
from tests.train.phased import HEADS_ONLY, TOP, UNTIL, phased_spec
from tests.train.stored import in_files, stored_spec
from tests.train.targets import mixed_spec
from tests.train.tiny import toy_spec, write_jsonl
from tests.train.vision import VIT

IMAGES = {"train": 24, "validation": 8, "test": 8}


def heads_only(toy: Path) -> Spec:
    """Return a spec that trains the heads, from stored features, with a checkpoint between epochs."""
    return toy_spec(toy, train={"epochs": 3, "batch_size": 32, "checkpoint_steps": 4})


def half_frozen(toy: Path) -> Spec:
    """Return a spec that trains the upper layer and the heads, from a store in files."""
    rules = [*HEADS_ONLY, TOP]
    return phased_spec(toy, [], rule=rules, train={"epochs": 3, "batch_size": 32, "store_budget": "1 B"})


def gradual(toy: Path) -> Spec:
    """Return a spec that thaws layer by layer, with a store in files that is made again."""
    table = {"epochs": 1, "then": ["@embeddings"]}
    spec = stored_spec(toy, toy / "bert", [], store_budget="1 B")
    values = spec.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    del values["phase"]
    return Spec.model_validate(values | {"gradual": table})


def until_best(toy: Path) -> Spec:
    """Return a spec of two phases that end by a metric, each with its best epoch."""
    phases = [{"name": "heads", "until": UNTIL}, {"name": "top", "until": UNTIL, "rule": [TOP]}]
    return phased_spec(toy, phases, optimizer={"lr": 3e-2})


def restoring(toy: Path) -> Spec:
    """Return a spec without phases that ends with its best epoch."""
    train = {"epochs": 4, "batch_size": 32, "restore_best": "topic/loss", "clip_norm": 100.0}
    return toy_spec(toy, optimizer={"lr": 0.3}, schedule={"name": "constant"}, train=train)


def evaluating(toy: Path) -> Spec:
    """Return a spec that trains nothing."""
    return toy_spec(toy, rule=[{"match": "**", "state": "frozen"}])


def of_images(toy: Path) -> Spec:
    """Return a spec over image files, of a small transformer that trains from scratch."""
    data = {split: str(toy / "images" / f"{split}.jsonl") for split in IMAGES}
    task = {"name": "shade", "data": data | {"image": "file", "label": "shade"}, "labels": ["dark", "light"]}
    rules = [{"match": "**", "state": "trainable"}, {"match": "@pooler", "state": "frozen"}]
    model = {"config": VIT | {"num_hidden_layers": 1}}
    return toy_spec(toy, model=model, rule=rules, task=[task], train={"epochs": 3, "batch_size": 8})


def every_task(toy: Path) -> Spec:
    """Return a spec whose tasks are of every kind, in phases, from a store in files."""
    return mixed_spec(toy / "targets", store_budget="1 B", checkpoint_steps=2)


def write_images(toy: Path) -> None:
    """Write grey images of 8 x 8, dark and light ones, and the rows that name them by relative paths."""
    folder, chance = toy / "images", numpy.random.default_rng(5)
    folder.mkdir()
    for split, count in IMAGES.items():
        rows: list[dict[str, Any]] = []
        for number in range(count):
            shade = "light" if number % 2 else "dark"
            pixels = chance.integers(0, 128, (8, 8)) + 127 * (number % 2)
            name = f"{split}{number}.png"
            Image.fromarray(pixels.astype(numpy.uint8)).save(folder / name)
            rows.append({"file": name, "shade": shade})
        write_jsonl(folder / f"{split}.jsonl", rows)


KINDS = {
    "heads only": heads_only,
    "half frozen, a store in files": half_frozen,
    "phases, a store in files made twice": in_files,
    "gradual": gradual,
    "until a metric, the best epochs restored": until_best,
    "the best epoch restored": restoring,
    "evaluation only": evaluating,
    "images": of_images,
    "tasks of every kind": every_task,
}
