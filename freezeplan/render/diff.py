"""Differences between plans in words, one line each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from freezeplan.diagnostics.wording import counted, format_rate, some
from freezeplan.plan.diff import Difference

SHOWN_NAMES = 3
SHOWN_ENTRIES = 4
ABSENT = "none"


def difference_lines(differences: Iterable[Difference]) -> list[str]:
    """Return one line per difference: where, what, before and after, and for which tensors.

    >>> difference_lines([Difference("lr", "top", "lr", 2e-5, 1e-5, ("a.weight", "a.bias"))])
    ['phase `top`: lr 2e-05 -> 1e-05 (2 tensors: `a.weight`, `a.bias`)']
    """
    return [_line(item) for item in differences]


def _line(item: Difference) -> str:
    where = f"phase `{item.phase}`: " if item.phase is not None else ""
    if isinstance(item.before, dict) and isinstance(item.after, dict):
        change = ", ".join(key_changes(item.before, item.after))
    else:
        change = _pair(item.what, item.before, item.after)
    return f"{where}{item.what} {change}{_names(item.names)}"


def key_changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Yield the keys of a table that differ, with both values."""
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield f"{key} {_pair(key, before.get(key), after.get(key))}"


def _pair(what: str, before: Any, after: Any) -> str:
    return f"{written_value(what, before)} -> {written_value(what, after)}"


def _names(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    return f" ({counted(len(names), 'tensor')}: {some(names, SHOWN_NAMES)})"


def written_value(what: str, value: Any) -> str:
    """Write a value of what is called ``what``: rates exactly, tables and lists in a line."""
    if value is None or value in ([], {}):
        return ABSENT
    if isinstance(value, float) and "lr" in what.replace("learning rate", "lr"):
        return format_rate(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {written_value(key, entry)}" for key, entry in value.items())
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return some(value, SHOWN_ENTRIES)
    return str(value)
