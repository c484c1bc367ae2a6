"""The patterns of a spec: where they stand, and whether they can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from freezeplan.diagnostics import Diagnostic
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.selector import parse_selector
from freezeplan.spec.selector_error import SelectorError

MOST_BRANCHES_IN_ALL = 1 << 18


def pattern_problems(data: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each pattern of a spec's data that the selector grammar refuses.

    ``data`` is the merged spec as it was written; what is not a string is left to the type checks.
    """
    count = 0
    for path, text in _patterns(data):
        try:
            count += len(parse_selector(text).branches)
        except SelectorError as error:
            yield syntax_problem(error, path)
        if count > MOST_BRANCHES_IN_ALL:
            message = (
                f"the patterns up to here stand for {count:,} patterns; the limit is {MOST_BRANCHES_IN_ALL:,}"
            )
            yield at_key(path, "FP142", message, help="use `*` in place of braces, or fewer rules")
            return


def syntax_problem(error: SelectorError, path: KeyPath) -> Diagnostic:
    """Return the diagnostic of a pattern that cannot be read, its caret inside the pattern."""
    inside = (error.start, error.length)
    return at_key(path, error.code, error.message, help=error.advice, within=inside, fix=error.fix)


def _patterns(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    optimizer, gradual, when = data.get("optimizer"), data.get("gradual"), data.get("freeze_when")
    # A string there is no pattern but the name of a published rule.
    if isinstance(optimizer, Mapping) and not isinstance(optimizer.get("no_decay"), str):
        yield from _texts(optimizer.get("no_decay"), ("optimizer", "no_decay"))
    yield from _optimizer_patterns(optimizer)
    yield from _rule_patterns(data, ())
    phases = data.get("phase")
    for index, phase in enumerate(phases if isinstance(phases, list) else ()):
        if isinstance(phase, Mapping):
            yield from _rule_patterns(phase, ("phase", index))
    if isinstance(gradual, Mapping):
        for key in ("over", "then"):
            yield from _texts(gradual.get(key), ("gradual", key))
    if isinstance(when, Mapping):
        yield from _texts(when.get("over"), ("freeze_when", "over"))


def _optimizer_patterns(optimizer: Any) -> Iterator[tuple[KeyPath, str]]:
    for name, table in optimizer.items() if isinstance(optimizer, Mapping) else ():
        if isinstance(table, Mapping):
            for key in ("match", "except"):
                yield from _texts(table.get(key), ("optimizer", name, key))


def _rule_patterns(table: Mapping[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    rules = table.get("rule")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(rule, Mapping):
            for key in ("match", "except"):
                yield from _texts(rule.get(key), (*path, "rule", index, key))


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    entries = value if isinstance(value, list) else [value]
    for entry, text in enumerate(entries):
        # Empty entries have a diagnostic of their own (FP114).
        if isinstance(text, str) and text:
            yield (*path, entry), text
