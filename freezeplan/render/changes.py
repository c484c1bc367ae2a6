"""What changed between two plans, as lines, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from freezeplan.diagnostics.wording import counted, in_quotes, some
from freezeplan.plan.changes import ADDED, REMOVED, TIED, UNTIED, Change, Comparison
from freezeplan.plan.gathering import with_ranges, without_inner, without_ranges
from freezeplan.render.diff import key_changes, written_value

FORMAT_VERSION = "1.0"
SHOWN_PATTERNS = 4
FEW = 3
"""Up to so many pairs of values have a line each; more (the rates of a ladder) are one line with their range."""
MODULES = {"eval_modules": "modules in eval mode", "kept_in_train_mode": "frozen modules in train mode"}
WORDS = {"weight_decay": "weight decay", "aliases": "other names", "frozen_dtype": "format of frozen weights"}


def change_lines(found: Comparison) -> list[str]:
    """Return one line per change, renamings first; many values that one pair of rules changed are one line.

    >>> change_lines(Comparison((), (Change("lr", "lr", (), 2e-5, 1e-5, ("a", "b"), ("x.w", "x.b"), ("x",)),)))
    ['lr 2e-05 -> 1e-05: `x` (2 tensors), by `a` -> `b`']
    """
    return [*(item.line() for item in found.renamed), *(_line(item) for item in folded(found.changes))]


def folded(changes: Iterable[Change]) -> Iterator[Change]:
    """Yield changes with many values of one kind as one: their lowest and their highest."""
    families: dict[tuple[object, ...], list[Change]] = {}
    for number, item in enumerate(changes):
        numbers = isinstance(item.before, float) and isinstance(item.after, float)
        key = (item.what, item.phases, item.rules) if item.names and numbers else (number,)
        families.setdefault(key, []).append(item)
    for alike in families.values():
        if len(alike) > FEW:
            yield _as_range(alike)
        else:
            yield from alike


@dataclass(frozen=True)
class Spread:
    """The lowest and the highest of many values."""

    low: float
    high: float


def _as_range(alike: Sequence[Change]) -> Change:
    sides = [[getattr(item, side) for item in alike] for side in ("before", "after")]
    names = tuple(name for item in alike for name in item.names)
    where = with_ranges(pattern for item in alike for pattern in item.where)
    before, after = (Spread(min(values), max(values)) for values in sides)
    return replace(alike[0], before=before, after=after, names=names, where=where)


def _line(item: Change) -> str:
    return f"{_phases(item)}{change_text(item)}{_place(item)}{_rules(item)}"


def _phases(item: Change) -> str:
    if not item.phases:
        return ""
    return f"{'phase' if len(item.phases) == 1 else 'phases'} {some(item.phases, SHOWN_PATTERNS)}: "


def change_text(item: Change) -> str:
    """Say what changed, without where."""
    if item.what in (ADDED, REMOVED):
        return f"{item.what}, {item.after or item.before}"
    if item.what == UNTIED:
        return f"untied: {some(item.after, SHOWN_PATTERNS)} no longer a name of {some(item.before, SHOWN_PATTERNS)}"
    if item.what == TIED:
        return f"tied: {some(item.after, SHOWN_PATTERNS)} now a name of {some(item.before, SHOWN_PATTERNS)}"
    if item.what in MODULES:
        return f"{MODULES[item.what]}: {_coming_and_going(item.before, item.after)}"
    what = WORDS.get(item.what, item.what)
    if isinstance(item.before, Mapping) and isinstance(item.after, Mapping):
        return f"{what} {', '.join(key_changes(item.before, item.after))}"
    return f"{what} {_value(item.what, item.before)} -> {_value(item.what, item.after)}"


def _value(what: str, value: Any) -> str:
    if isinstance(value, Spread):
        low, high = (written_value(what, number) for number in (value.low, value.high))
        return low if low == high else f"{low}..{high}"
    return written_value(what, value)


def _coming_and_going(before: Sequence[str], after: Sequence[str]) -> str:
    old, new = without_ranges(before), without_ranges(after)
    sides = {"+": _only(new, old), "-": _only(old, new)}
    return ", ".join(f"{sign} {some(names, SHOWN_PATTERNS)}" for sign, names in sides.items() if names)


def _only(paths: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    known = set(others)
    return with_ranges(without_inner([path for path in paths if path not in known]))


def _place(item: Change) -> str:
    if not item.names or item.what in (TIED, UNTIED):
        return ""
    return f": {some(item.where, SHOWN_PATTERNS)} ({counted(len(item.names), 'tensor')})"


def _rules(item: Change) -> str:
    names = [in_quotes(rule) for rule in dict.fromkeys(item.rules) if rule is not None]
    return f", by {' -> '.join(names)}" if names else ""


def comparison_record(
    found: Comparison, before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a comparison as plain JSON types; ``before`` and ``after`` say what the two sides are."""
    return {
        "format_version": FORMAT_VERSION,
        "before": dict(before),
        "after": dict(after),
        "equal": not found.count,
        "renamed": [
            {
                "before": [*item.prefix, *item.before],
                "after": [*item.prefix, *item.after],
                "names": dict(item.names),
            }
            for item in found.renamed
        ],
        "changes": [_change_record(item) for item in found.changes],
    }


def _change_record(item: Change) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "what": item.what,
        "phases": list(item.phases),
        "before": item.before,
        "after": item.after,
        "rules": list(item.rules),
        "where": list(item.where),
        "tensors": list(item.names),
    }


def comparison_markdown(found: Comparison, before: str, after: str) -> str:
    """Return a comparison as a table of Markdown, one row per line of :func:`change_lines`."""
    head = f"**{_cell(before)}** -> **{_cell(after)}**: {counted(len(change_lines(found)), 'change')}\n"
    if not found.count:
        return head
    rows = [(item.line(), "", "", "") for item in found.renamed]
    for item in folded(found.changes):
        where = "" if item.what in (TIED, UNTIED) else some(item.where, SHOWN_PATTERNS)
        tensors = str(len(item.names)) if item.names else ""
        rows.append(
            (f"{_phases(item)}{change_text(item)}", where, tensors, _rules(item).removeprefix(", by "))
        )
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in (("change", "where", "tensors", "rule"), *rows)]
    return "\n".join([head, lines[0], "|---|---|---|---|", *lines[1:]]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
