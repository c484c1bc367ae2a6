"""Runs of two processes under torchrun: specs for them, and how they are started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from freezeplan.runs.spec_file import spec_text
from freezeplan.spec.tables import Spec
from freezeplan.tasks import TASK_KINDS
from tests.train.phased import ALL, POOLER, TOP, every_kind, phased_spec
from tests.train.targets import tasks_of_every_kind, write_rows_with_targets
from tests.train.tiny import save_tiny_bert, write_toy_data

ROOT = Path(__file__).parents[2]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
FORKED = ("-m", "tests.train.forked")
# 70 rows in batches of 23: the last batch of a pass has one row, so that one of two ranks has none.
ROWS, BATCH = 70, 23
PHASES = [
    {"name": "heads", "epochs": 1},
    {"name": "top", "steps": 5, "rule": [TOP]},
    {"name": "all", "steps": 6, "rule": [ALL, POOLER]},
    {"name": "top again", "epochs": 1, "rule": [{"match": "backbone", "state": "frozen"}, TOP]},
]


def still_toy(folder: Path) -> Path:
    """Make a tiny BERT without dropout and toy data; returns the folder."""
    config = save_tiny_bert(folder / "bert") / "config.json"
    values = json.loads(config.read_text("utf-8"))
    values |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config.write_text(json.dumps(values), "utf-8")
    write_toy_data(folder, train=ROWS)
    return folder


def still_spec(toy: Path, mixing: str, **train: Any) -> Spec:
    """Return a spec that thaws and freezes again, without any dropout, with clipping and accumulation."""
    spec = phased_spec(
        toy,
        PHASES,
        train={"batch_size": BATCH, "mixing": mixing, "clip_norm": 1.0, "accumulation": 2, **train},
        optimizer={"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.1},
    )
    tasks = [task.model_copy(update={"dropout": 0.0}) for task in spec.task]
    return spec.model_copy(update={"task": tasks})


def every_task_spec(folder: Path) -> Spec:
    """Return a spec over tasks of every kind whose rows can be shared out, without any dropout, in phases."""
    still_toy(folder)
    write_rows_with_targets(folder)
    tasks = [
        task for task in tasks_of_every_kind(folder) if TASK_KINDS[task.get("kind", "classification")].rowwise
    ]
    for task in tasks:
        if task.get("kind") != "similarity":
            task["dropout"] = 0.0
    return phased_spec(
        folder,
        PHASES,
        task=tasks,
        train={"batch_size": 9, "mixing": "joint", "accumulation": 2},
        optimizer={"name": "sgd", "lr": 0.01, "momentum": 0.9},
    )


def dropping_spec(toy: Path) -> Spec:
    """Return a spec with phases of every kind, with dropout in backbone and heads."""
    return every_kind(toy, "joint", checkpoint_steps=2)


def write_spec(spec: Spec, path: Path) -> Path:
    """Write a spec whose paths are absolute; returns the path."""
    path.write_text(spec_text(spec), "utf-8")
    return path


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a test's processes: one thread, nothing of another launcher's."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return {**kept, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **more}


def on_two_ranks(*arguments: object, launcher: tuple[str, ...] = FORKED) -> subprocess.CompletedProcess[str]:
    """Run a module with arguments in two processes, to its end; ``TORCHRUN`` where the launcher matters."""
    return subprocess.run(
        [sys.executable, *launcher, "-m", *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
