"""Rates that the arithmetic of a tensor's optimizer cannot hold: rounded, they are 0 or infinite."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from math import inf
from typing import NamedTuple

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import counted, some
from freezeplan.plan.binding import BoundRule
from freezeplan.plan.owners import Owner
from freezeplan.plan.records import Assignment
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import KeyPath, at_key

DOUBLE = ("float64", "complex128")


class Unfit(NamedTuple):
    """Hold a rate as the arithmetic has it, 0 or infinity, and the key that took it there."""

    path: KeyPath
    key: str
    rate: float
    double: bool


def held_rate(rate: float, dtype: str) -> float:
    """Return a rate as the steps of a tensor have it: torch works in float32, for float64 tensors alone in float64.

    >>> held_rate(1e-47, "float32"), held_rate(1e-47, "float64"), held_rate(1e39, "bfloat16")
    (0.0, 1e-47, inf)
    """
    if dtype in DOUBLE:
        return rate
    try:
        return struct.unpack("f", struct.pack("f", rate))[0]
    except OverflowError:
        return inf


def unfit_rates(
    tree: NameTree, rules: Sequence[BoundRule], owners: Sequence[Owner], whats: Sequence[Assignment]
) -> Iterator[Diagnostic]:
    """Report (FP418) each key that leaves tensors a rate of 0, or an infinite one: no rate to train at.

    ``whats`` are the assignments of one phase, in tree order.
    """
    by_name = {rule.name: rule for rule in rules}
    found: dict[Unfit, list[str]] = {}
    for index, what in zip(tree.order, whats, strict=True):
        info = tree.inventory.params[index]
        rate = held_rate(what.lr, info.dtype)
        if what.trainable and not 0.0 < rate < inf:
            path, key = _cause(what, by_name, owners)
            found.setdefault(Unfit(path, key, rate, info.dtype in DOUBLE), []).append(info.name)
    yield from (_unfit(item, lost) for item, lost in found.items())


def _cause(what: Assignment, rules: dict[str, BoundRule], owners: Sequence[Owner]) -> tuple[KeyPath, str]:
    """Return the key that decided a rate last: its decay, where it has one, else its rule's, else the base rate."""
    decided = dict(what.decided)
    if what.rung and what.decay != 1.0:
        return (*rules[decided["layer_decay"]].path, "layer_decay", "rate"), "layer_decay"
    if "lr" in decided:
        rule = rules[decided["lr"]]
        return (*rule.path, rule.settings["lr"].key), rule.settings["lr"].key
    owner = next(owner for owner in owners if owner.planned.label == what.optimizer)
    return (*owner.path, "lr"), "lr"


def _unfit(item: Unfit, lost: Sequence[str]) -> Diagnostic:
    small, inside = item.rate == 0.0, "" if item.double else " in float32"
    end = f"0{inside}: they would never move" if small else f"infinity{inside}"
    message = f"`{item.key}` takes the rate of {counted(len(lost), 'tensor')} to {end}"
    advice = f"write a {'larger' if small else 'smaller'} rate, or freeze them"
    if item.key == "layer_decay":
        advice = "move `rate` towards 1, set `min_mult`, or freeze them"
    return at_key(item.path, "FP418", message, help=advice, notes=[f"for example {some(lost, 3)}"])
