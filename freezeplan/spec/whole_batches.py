"""Checks of what cuts a batch up, where a task's loss needs the batch whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import printable
from freezeplan.spec.document import Document
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.task_checks import kind_written


def check_whole_batches(document: Document) -> Iterator[Diagnostic]:
    """Yield a problem where batches would be gathered one by one, or hold one pair, for a loss over whole batches."""
    train = document.table("train")
    whole = [(path, task) for path, task in document.entries("task") if _is_whole(task)]
    accumulation = train.get("accumulation")
    if whole and isinstance(accumulation, int) and accumulation > 1:
        message = f"{_named(whole[0][1])} from the batch, and accumulation cuts a step into several"
        advice = "remove `accumulation`, and raise `batch_size`: each row then has more negatives"
        yield at_key(("train", "accumulation"), "FP128", message, help=advice)
    for path, task in whole:
        yield from _of_one(path, task, train)


def _is_whole(task: dict[str, Any]) -> bool:
    kind = kind_written(task)
    return kind is not None and not kind.rowwise


def _of_one(path: KeyPath, task: dict[str, Any], train: dict[str, Any]) -> Iterator[Diagnostic]:
    place, table = (path, task) if task.get("batch_size") is not None else (("train",), train)
    data = task.get("data")
    has_negatives = isinstance(data, dict) and data.get("text_negative") is not None
    if table.get("batch_size") == 1 and not has_negatives:
        message = f"{_named(task)} from the batch, and a batch of one pair has none"
        yield at_key((*place, "batch_size"), "FP128", message, help="write 2 or more; 32 is usual")


def _named(task: dict[str, Any]) -> str:
    return f"task `{printable(str(task.get('name', '')))}` takes its negatives"
