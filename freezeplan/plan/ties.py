"""Tied tensors: the cascade runs for each name, and the names must end equal."""

from __future__ import annotations

from collections.abc import Sequence

from freezeplan.diagnostics import Diagnostic
from freezeplan.plan.binding import BoundRule, report
from freezeplan.plan.records import Assignment
from freezeplan.plan.tree import NameTree
from freezeplan.spec.tables import Spec

COMPARED = ("state", "lr", "weight_decay", "options", "eval_mode")


def tie_conflicts(
    spec: Spec, tree: NameTree, rules: Sequence[BoundRule], by_name: dict[str, Assignment]
) -> list[Diagnostic]:
    """Report each pair of names of one tensor that the rules treat differently, naming both rules."""
    found = []
    for info in tree.inventory.params:
        if info.alias_of is None:
            continue
        first, second = by_name[info.alias_of], by_name[info.name]
        keys = [key for key in COMPARED if getattr(first, key) != getattr(second, key)]
        if keys:
            found.append(_conflict(spec, rules, (info.alias_of, info.name), (first, second), keys))
    return found


def _conflict(
    spec: Spec,
    rules: Sequence[BoundRule],
    names: tuple[str, str],
    ends: tuple[Assignment, Assignment],
    keys: list[str],
) -> Diagnostic:
    key = "state" if "state" in keys else keys[0]
    said = [_said(name, what, key) for name, what in zip(names, ends, strict=True)]
    message = f"`{names[0]}` and `{names[1]}` are one tied tensor, but the rules end unequal"
    later = max(rules, key=lambda rule: rule.index if rule.name in _deciders(ends, key) else -1)
    advice = f'name both in one rule, such as match = ["{names[0]}", "{names[1]}"]'
    return report(spec, "FP305", message, (*later.path, "match"), advice=advice, notes=said)


def _deciders(ends: tuple[Assignment, Assignment], key: str) -> set[str]:
    return {dict(what.decided).get(key, what.rule) for what in ends}


def _said(name: str, what: Assignment, key: str) -> str:
    rule = dict(what.decided).get(key)
    who = f"rule `{rule}`" if rule else "no rule, so the base value"
    return f"`{name}`: {key} = {getattr(what, key)} ({who})"
