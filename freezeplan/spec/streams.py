"""Tasks whose training rows are streamed, and what a spec may not say beside that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.spec.document import Document, printable
from freezeplan.spec.fields import misspelt
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.tables import Spec, Task

SHUFFLE_BUFFER = 10_000
OF_STREAMS = ("steps_per_epoch", "shuffle_buffer")


def is_streamed(task: Task) -> bool:
    """Whether the training rows of a task are streamed."""
    return task.data is not None and task.data.stream


def rows_per_pass(spec: Spec) -> dict[str, int]:
    """Return how many rows make a pass over each task whose rows are streamed: those of its steps in an epoch."""
    return {
        task.name: task.data.steps_per_epoch
        * (task.batch_size or spec.train.batch_size)
        * spec.train.accumulation
        for task in spec.task
        if is_streamed(task) and task.data.steps_per_epoch
    }


def check_streams(document: Document) -> Iterator[Diagnostic]:
    """Yield what does not fit together in the keys about streamed rows."""
    streamed = None
    for path, task in document.entries("task"):
        data = task.get("data")
        if isinstance(data, dict):
            yield from _data((*path, "data"), data)
            streamed = streamed or (task if data.get("stream") is True else None)
    if streamed is not None:
        yield from _store(document.table("train"), printable(str(streamed.get("name", ""))))


def _data(path: KeyPath, data: dict[str, Any]) -> Iterator[Diagnostic]:
    if data.get("stream") is not True:
        for key in OF_STREAMS if not data.get("stream") else ():
            if data.get(key) is not None:
                message = f"`{key}` is about rows that are streamed, and these are read whole"
                advice = "add `stream = true`, or remove it"
                yield at_key((*path, key), "FP115", message, help=advice, part=KeyPart.KEY)
        return
    if data.get("train") is None and not misspelt(data, path, "train"):
        message = "`stream` is about training rows, and `data` names none"
        yield at_key((*path, "stream"), "FP115", message, help='add train = "…"', part=KeyPart.KEY)
    if data.get("steps_per_epoch") is None and not misspelt(data, path, "steps_per_epoch"):
        message = "streamed rows are not counted before they are read, so nothing says how long an epoch is"
        advice = "add `steps_per_epoch = 1000`: the optimizer steps that count as one pass"
        yield at_key((*path, "stream"), "FP115", message, help=advice, part=KeyPart.KEY)


def _store(train: dict[str, Any], task: str) -> Iterator[Diagnostic]:
    why = f"the rows of task `{task}` are streamed, so there are no fixed inputs to store"
    if train.get("store") == "require":
        message = f'`store = "require"` cannot be met: {why}'
        yield at_key(("train", "store"), "FP135", message, help='write store = "auto", or leave it out')
    if train.get("store") != "off":
        for key in ("store_dtype", "store_budget"):
            if train.get(key) is not None:
                message = f"`{key}` has no effect: {why}"
                yield at_key(("train", key), "FP135", message, help="remove it", part=KeyPart.KEY)
