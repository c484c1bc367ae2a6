"""Checks of ``[optimizer]`` and ``[optimizer.NAME]``: one class each, and every argument in one place."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator
from typing import Any

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.diagnostics.wording import printable
from freezeplan.spec.document import Document, written
from freezeplan.spec.entries import cancelled_matches, repeated_entries
from freezeplan.spec.fields import fields_of
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.optimizer_tables import OptimizerOptions, OptimizerTable
from freezeplan.spec.problems import label

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
OWN_KEYS = ("params", "lr", "weight_decay")
KEYS = frozenset(fields_of(OptimizerTable))


def check_optimizers(document: Document) -> Iterator[Diagnostic]:
    """Yield the problems of the optimizers' tables that no type of one key expresses."""
    table = document.table("optimizer")
    yield from _chosen(document, ("optimizer",), table)
    for name, inner in table.items():
        if name in KEYS or not isinstance(inner, dict):
            continue
        path = ("optimizer", name)
        if not NAME.fullmatch(name):
            message = f"an optimizer cannot be called `{printable(name)}`"
            advice = "use letters, digits, `_` and `-`, a letter first"
            yield at_key(path, "FP108", message, help=advice, part=KeyPart.KEY)
        if inner.get("name") is None and inner.get("class") is None:
            message = f"`[optimizer.{printable(name)}]` does not say which optimizer it is"
            advice = 'add `name = "…"` for one of torch.optim, or `class = "MODULE:CLASS"`'
            yield at_key(path, "FP102", message, help=advice, part=KeyPart.HEADER)
        for key in ("match", "except"):
            yield from repeated_entries(document, (*path, key))
        yield from cancelled_matches(document, path)
        yield from _chosen(document, path, inner)


def _chosen(document: Document, path: KeyPath, table: dict[str, Any]) -> Iterator[Diagnostic]:
    if table.get("name") is not None and table.get("class") is not None:
        message = "`name` and `class` both choose the optimizer"
        advice = "keep one: `name` is of torch.optim, `class` from elsewhere"
        yield at_key((*path, "class"), "FP136", message, help=advice, part=KeyPart.KEY)
    options = table.get("options")
    for key, value in options.items() if isinstance(options, dict) else ():
        yield from _argument((*path, "options", key), key, value, table)


def _argument(path: KeyPath, key: str, value: Any, table: dict[str, Any]) -> Iterator[Diagnostic]:
    is_twice = key in OptimizerOptions.model_fields and table.get(key) is not None
    if key == "params":
        message = "`params` is what the plan's groups are given as"
        yield at_key(path, "FP137", message, help="remove it", part=KeyPart.KEY)
    elif key in OWN_KEYS or is_twice:
        message = f"`{key}` is a key of the optimizer's table: it has its own value in each group"
        advice = f"write `{key}` beside `options`, and not in it"
        yield at_key(path, "FP137", message, help=advice, part=KeyPart.KEY)
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, (datetime.date, datetime.time)) or (
            isinstance(part, float) and not math.isfinite(part)
        ):
            message = f"{label(path)} cannot be {written(part)}: the plan holds plain values"
            yield at_key(path, "FP103", message, help="write a number, a string, true or false")
