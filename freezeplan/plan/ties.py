"""Tied tensors: the cascade runs for each name, and the names must end equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import quoted
from freezeplan.plan.binding import BoundRule
from freezeplan.plan.records import Assignment
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import at_key

COMPARED = ("state", "lr", "weight_decay", "options", "eval_mode")


def tie_conflicts(
    tree: NameTree, rules: Sequence[BoundRule], by_name: dict[str, Assignment]
) -> list[Diagnostic]:
    """Report each tensor whose names the rules treat differently, with all its names and their rules."""
    names: dict[str, list[str]] = {}
    for info in tree.inventory.params:
        if info.alias_of is not None:
            names.setdefault(info.alias_of, [info.alias_of]).append(info.name)
    return [found for tied in names.values() for found in _conflict(rules, {n: by_name[n] for n in tied})]


def _conflict(rules: Sequence[BoundRule], ends: dict[str, Assignment]) -> Iterator[Diagnostic]:
    key = next((key for key in COMPARED if len({getattr(what, key) for what in ends.values()}) > 1), None)
    if key is None:
        return
    listed = quoted(ends)
    deciders = {dict(what.decided).get(key, what.rule) for what in ends.values()}
    later = max(rules, key=lambda rule: rule.index if rule.name in deciders else -1)
    all_of_them = ", ".join(f'"{name}"' for name in ends)
    advice = f"name all of them in one rule, such as match = [{all_of_them}]"
    if later.path[0] == "gradual":  # Each of its entries is a phase of its own.
        advice = 'write "@tied" in `then`: it thaws all of them in one phase'
    yield at_key(
        (*later.path, "match"),
        "FP305",
        f"{listed} are one tied tensor, but the rules end unequal",
        help=advice,
        notes=[_said(name, what, key) for name, what in ends.items()],
    )


def _said(name: str, what: Assignment, key: str) -> str:
    rule = dict(what.decided).get(key)
    who = f"rule `{rule}`" if rule else "no rule, so the base value"
    return f"`{name}`: {key} = {getattr(what, key)} ({who})"
