"""Toy rows with targets of every kind, and specs that mix tasks of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from freezeplan.spec.tables import Spec
from freezeplan.tasks import TASK_KINDS
from tests.train.phased import ALL, HEADS_ONLY, POOLER, TOP
from tests.train.tiny import FILLERS, MOODS, save_tiny_bert, toy_data, toy_rows, toy_spec, write_jsonl


def with_targets(row: dict[str, str]) -> dict[str, Any]:
    """Return a toy row with numbers and labels that its words tell."""
    words = row["text"].split()
    charge = sum((word in MOODS["good"]) - (word in MOODS["bad"]) for word in words)
    tags = [
        "B-mood" if any(word in found for found in MOODS.values()) else "O" if word in FILLERS else "B-topic"
        for word in words
    ]
    other = " ".join(reversed(words[1:])) or "box"
    said = {name: int(name in words) for name in ("box", "the", "now")}
    return (
        row
        | said
        | {
            "other": other,
            "unlike": f"box now {row['text']}",
            "tokens": words,
            "tags": tags,
            "words": len(words) / 4,
            "charge": float(charge),
            "said": [k for k, v in said.items() if v],
        }
    )


def write_targets(folder: Path, train: int = 64, other: int = 16) -> Path:
    """Write the tiny model and three files with targets of every kind; returns the folder."""
    save_tiny_bert(folder / "bert")
    write_rows_with_targets(folder, train, other)
    return folder


def write_rows_with_targets(folder: Path, train: int = 64, other: int = 16) -> None:
    """Write three files with targets of every kind."""
    rows = [with_targets(row) for row in toy_rows(train + 2 * other, seed=1)]
    for name, part in {
        "train": rows[:train],
        "validation": rows[train : train + other],
        "test": rows[train + other :],
    }.items():
        write_jsonl(folder / f"{name}.jsonl", part)


def word_data(folder: Path) -> dict[str, Any]:
    """Return a task's data table over the words of the toy files."""
    found = toy_data(folder, "tags")
    return {key: value for key, value in found.items() if key != "label"} | {
        "tokens": "tokens",
        "tags": "tags",
    }


def pair_data(folder: Path) -> dict[str, Any]:
    """Return a task's data table over two texts of the toy files, without anything to learn besides."""
    found = toy_data(folder, "none", text_pair="other")
    return {key: value for key, value in found.items() if key != "label"}


def tasks_of_every_kind(folder: Path) -> list[dict[str, Any]]:
    """Return a task of each kind over the same texts."""
    return [
        {"name": "topic", "data": toy_data(folder, "topic")},
        {
            "name": "weighed",
            "data": toy_data(folder, "mood"),
            "class_weights": {"bad": 2.0},
            "label_smoothing": 0.1,
        },
        {"name": "said", "kind": "multi_label", "data": toy_data(folder, "said")},
        {
            "name": "flags",
            "kind": "multi_label",
            "data": toy_data(folder, "x") | {"label": ["now", "the"]},
        },
        {"name": "words", "kind": "regression", "data": toy_data(folder, "words")},
        {"name": "ner", "kind": "token_classification", "data": word_data(folder)},
        {
            "name": "alike",
            "kind": "similarity",
            "max_score": 2.0,
            "data": toy_data(folder, "charge", text_pair="other"),
        },
        {
            "name": "compared",
            "kind": "similarity",
            "head": "compare",
            "max_score": 2.0,
            "data": toy_data(folder, "charge", text_pair="other"),
        },
        {
            "name": "find",
            "kind": "embedding",
            "matryoshka": [16, 4],
            "data": pair_data(folder),
        },
        {
            "name": "pick",
            "kind": "embedding",
            "temperature": 0.1,
            "data": pair_data(folder) | {"text_negative": "unlike"},
        },
        {"name": "pair", "data": toy_data(folder, "mood", text_pair="other")},
        {
            "name": "numbers",
            "kind": "regression",
            "data": toy_data(folder, "x") | {"label": ["charge", "words"]},
        },
    ]


UNTIL = {"metric": "numbers/pearson", "patience": 1, "max_epochs": 2, "restore_best": True}
PHASES = [
    {"name": "heads", "epochs": 1},
    {"name": "top", "steps": 5, "rule": [TOP]},
    {"name": "all", "until": UNTIL, "rule": [ALL, POOLER, {"match": "heads.words", "state": "frozen"}]},
]


def mixed_spec(folder: Path, **train: Any) -> Spec:
    """Return a spec whose tasks are of every kind, in phases."""
    table = {"batch_size": 24, "mixing": "joint", **train}
    tasks = tasks_of_every_kind(folder)
    if table.get("accumulation", 1) > 1:
        tasks = [task for task in tasks if TASK_KINDS[task.get("kind", "classification")].rowwise]
    return toy_spec(
        folder,
        rule=HEADS_ONLY,
        optimizer={"lr": 2e-3},
        task=tasks,
        phase=PHASES,
        train=table,
    )
