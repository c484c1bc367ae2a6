"""Specs with phases of every kind over the tiny model, and whole folders compared byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from freezeplan.runs.times import TIMES
from freezeplan.spec.tables import Spec
from tests.train.tiny import toy_data, toy_spec

HEADS_ONLY = [
    {"name": "body", "match": "backbone", "state": "frozen"},
    {"name": "heads", "match": "heads", "state": "trainable", "lr_mult": 10.0},
]
TOP = {"match": "@layers[-1:]", "state": "trainable"}
ALL = {"match": "backbone", "state": "trainable"}
POOLER = {"match": "backbone.pooler", "state": "frozen"}
UNTIL = {"metric": "topic/accuracy", "patience": 1, "max_epochs": 3, "restore_best": True}


def phased_spec(toy: Path, phases: list[dict[str, Any]], *, rows: str = "", **tables: Any) -> Spec:
    """Return a spec with phases, dropout in the heads; ``tables`` replace whole tables."""
    tasks = [
        {"name": name, "data": toy_data(toy, name), "dropout": 0.1, "weight": weight}
        for name, weight in (("topic", 1.0), ("mood", 0.7))
    ]
    values: dict[str, Any] = {
        "rule": HEADS_ONLY,
        "optimizer": {"lr": 2e-3},
        "task": tasks,
        "phase": phases,
        "train": {"batch_size": 32},
    }
    return toy_spec(toy, **(values | tables))


def phases_of_every_kind() -> list[dict[str, Any]]:
    """Return phases in epochs, in steps, until a metric with the best epoch brought back, and one without a task."""
    head_frozen = {"match": "heads.mood", "state": "frozen"}
    return [
        {"name": "heads", "epochs": 1},
        {"name": "top", "steps": 8, "rule": [TOP]},
        {"name": "all", "until": UNTIL, "rule": [ALL, POOLER, head_frozen]},
        {"name": "nothing", "epochs": 1, "rule": [{"match": "**", "state": "frozen"}]},
        {"name": "back", "steps": 3, "on_thaw": "keep", "rule": [{"match": "heads", "state": "trainable"}]},
    ]


def every_kind(toy: Path, mixing: str = "alternate", **train: Any) -> Spec:
    """Return a spec with phases of every kind."""
    return phased_spec(
        toy,
        phases_of_every_kind(),
        train={"batch_size": 32, "mixing": mixing, **train},
        schedule={"name": "cosine", "warmup": 2},
    )


def stopping(toy: Path, **train: Any) -> Spec:
    """Return a spec that ends early, at the first evaluation that any accuracy satisfies but the first's."""
    stop = {"metric": "mood/macro_f1", "at_least": 0.45}
    phases = [
        {"name": "heads", "epochs": 1},
        {"name": "top", "epochs": 2, "rule": [TOP]},
        {"name": "all", "epochs": 3, "rule": [ALL, POOLER]},
    ]
    return phased_spec(toy, phases, train={"batch_size": 32, "stop_when": stop, **train})


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes, but the times: equal runs take different ones."""
    return {
        item.relative_to(folder).as_posix(): item.read_bytes()
        for item in sorted(folder.rglob("*"))
        if item.is_file() and item.name != TIMES
    }


def assert_same_tree(found: Path, expected: Path) -> None:
    """Compare two folders byte for byte, naming the files that differ."""
    left, right = tree(found), tree(expected)
    differing = [name for name in {**left, **right} if left.get(name) != right.get(name)]
    assert differing == [], f"{found} and {expected} differ in {differing}"
