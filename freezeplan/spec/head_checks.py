"""Checks of what a spec says about its heads: no key stands there without effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.spec.document import Document
from freezeplan.spec.locations import at_key
from freezeplan.spec.task_checks import kind_written

NATIVE = "native"


def check_heads(document: Document) -> Iterator[Diagnostic]:
    """Yield a problem for each key of a linear head that a native one would pass over."""
    tasks = list(document.entries("task"))
    for path, task in tasks:
        if task.get("head") == NATIVE and task.get("dropout") is not None:
            message = (
                "`dropout` has no effect on a native head: it has the dropout that the model's config says"
            )
            advice = "remove `dropout`; that of the model is a key of its own config.json, such as `classifier_dropout`"
            yield at_key((*path, "dropout"), "FP138", message, help=advice, part=KeyPart.KEY)
    alone = tasks and all(map(_is_native, (task for _, task in tasks)))
    if alone and document.table("model").get("pooling") is not None:
        message = "`pooling` has no effect: every head is native, and reads the model's output in its own way"
        advice = "remove `pooling`, or make a head linear"
        yield at_key(("model", "pooling"), "FP138", message, help=advice, part=KeyPart.KEY)


def _is_native(task: dict[str, Any]) -> bool:
    kind = kind_written(task)
    return task.get("head") == NATIVE or (kind is not None and kind.own_head)
