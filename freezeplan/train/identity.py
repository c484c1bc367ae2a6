"""What a run is tied to besides its plan: the rows it learns from, its settings, where its paths start."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

from freezeplan.data.split import TaskData
from freezeplan.data.task_rows import SPLITS
from freezeplan.runs.run_files import libraries
from freezeplan.spec.streams import OF_STREAMS, is_streamed
from freezeplan.train.setup import Setup
from freezeplan.train.single_rows import trains_statistics

SETTINGS = (
    "batch_size",
    "eval_batch_size",
    "mixing",
    "temperature",
    "balancing",
    "precision",
    "accumulation",
    "clip_norm",
    "length_buckets",
    "score",
    "store",
    "store_dtype",
    "seed",
)
OF_TASKS = (
    "kind",
    "head",
    "weight",
    "scale",
    "batch_size",
    "dropout",
    "max_score",
    "label_smoothing",
    "class_weights",
    "temperature",
    "matryoshka",
)


def identity_of(setup: Setup) -> dict[str, Any]:
    """Return, as plain JSON types, what must be the same for a run to go on exactly.

    ``data`` holds rows and a hash of contents for each split of each task, ``settings`` what the plan does not
    say, ``surroundings`` what the same bits may depend on besides.
    """
    return {
        "data": {task.name: _data(task, setup) for task in setup.tasks},
        "settings": _settings(setup),
        "surroundings": {
            **libraries(),
            "threads": torch.get_num_threads(),
            "device": setup.device.type,
            "processes": setup.ranks.count,
            "strategy": setup.strategy.name,
        },
    }


def _data(task: TaskData, setup: Setup) -> dict[str, Any]:
    found = {
        split: {"rows": len(task.splits[split]), "sha256": _rows_hash(task, setup, split)}
        for split in SPLITS
        if split in task.splits
    }
    if task.streamed is not None:
        found["train"] = task.streamed.origin()
    unlabelled = setup.unlabelled.get(task.name)
    if unlabelled is not None:
        digest = unlabelled.inputs.digest().hex()
        found["test, without labels"] = {"rows": len(unlabelled), "sha256": digest}
    return found


def _rows_hash(task: TaskData, setup: Setup, split: str) -> str:
    """Hash a split's labels and all that the model sees of its rows: the tokens of texts, the pixels of images."""
    digest = hashlib.sha256(json.dumps(list(task.labels)).encode())
    encoded = setup.data[split][task.name]
    digest.update(task.kind.content(encoded.targets))
    digest.update(encoded.inputs.digest())
    return digest.hexdigest()


def _settings(setup: Setup) -> dict[str, Any]:
    spec = setup.spec
    found: dict[str, Any] = {f"train.{name}": getattr(spec.train, name) for name in SETTINGS}
    if trains_statistics(setup.model, setup.phases):
        found["processes"] = setup.ranks.count
    found["train.max_length"] = setup.encoder.max_length
    found["model.pooling"], found["model.dtype"] = setup.model.pooling, spec.model.dtype
    for task in spec.task:
        for name in OF_TASKS:
            found[f"task `{task.name}`, {name}"] = getattr(task, name)
        if is_streamed(task):
            for name in OF_STREAMS:
                found[f"task `{task.name}`, data.{name}"] = getattr(task.data, name)
    return found
