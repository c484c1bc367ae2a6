"""Checks of how the steps are shared among tasks, between the keys that say so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.spec.document import Document
from freezeplan.spec.locations import at_key


def check_mixing(document: Document) -> Iterator[Diagnostic]:
    """Yield what does not fit together in the keys of ``[train]`` about several tasks."""
    table = document.table("train")
    by_temperature, given = table.get("mixing") == "temperature", table.get("temperature") is not None
    if by_temperature and not given:
        message = '`mixing = "temperature"` needs a `temperature`'
        advice = "add `temperature = 2.0`: 1 is `proportional`, and the larger, the more alike the shares are"
        yield at_key(("train", "mixing"), "FP139", message, help=advice)
    if given and not by_temperature:
        message = '`temperature` has no effect without `mixing = "temperature"`'
        advice = 'remove it, or write mixing = "temperature"'
        yield at_key(("train", "temperature"), "FP139", message, help=advice, part=KeyPart.KEY)
    if table.get("balancing") is not None:
        yield from _balancing(document, table.get("mixing"))


def _balancing(document: Document, mixing: Any) -> Iterator[Diagnostic]:
    at = ("train", "balancing")
    if mixing != "joint":
        message = "`balancing` weighs the gradients of several tasks in one step; here a step is one task's"
        yield at_key(at, "FP139", message, help='write mixing = "joint"', part=KeyPart.KEY)
    elif len(list(document.entries("task"))) < 2:
        message = "`balancing` weighs the gradients of several tasks, and there are not two"
        yield at_key(at, "FP139", message, help="remove it", part=KeyPart.KEY)
