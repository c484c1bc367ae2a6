"""The rows of the plan's table: one per group and per frozen set, in the order of the model; twins folded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from freezeplan.plan.records import FrozenSet, Group, Options, Plan

NO_DECAY = "/no_decay"
MASKED = re.compile(re.escape(NO_DECAY) + r"(?= \(\d+\)$|$)")
# A table of more lines than this has the alike layers of a rule on one.
MOST_LINES = 20
RUNG = re.compile(r"(?P<rule>.*/)(?P<kind>layer|stage) (?P<number>\d+)")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ``lr`` is empty where nothing trains, and holds the lowest and the highest rate of folded layers.
    ``weight_decay`` holds one value for each group on the line, the masked one last. ``options`` are those in
    which the group differs from the optimizer's own.
    """

    group: str
    selected_by: str
    trainable: bool
    lr: tuple[float, ...]
    weight_decay: tuple[float, ...]
    options: Options
    tensors: int
    parameters: int

    @property
    def state(self) -> str:
        """The word for what happens to the row's tensors."""
        return "trainable" if self.trainable else "frozen"


def plan_rows(plan: Plan, phase: int = 0, *, folded: bool = True) -> tuple[Row, ...]:
    """Return the rows of one phase, ordered by where their rule first occurs in the model.

    Rows of one rule stay together, the one that bears the rule's name first. ``folded`` puts a group and its
    ``/no_decay`` twin on one line, and in a long table the neighbouring layers that differ in their rate alone.
    """
    rows = tuple(_row(item, plan, phase) for item in ordered_items(plan))
    if not folded:
        return rows
    paired = tuple(with_twins(rows))
    return tuple(_with_runs(paired)) if len(paired) > MOST_LINES else paired


def ordered_items(plan: Plan) -> list[Group | FrozenSet]:
    """Return groups and frozen sets in the order in which they are shown."""
    position = {param.name: index for index, param in enumerate(plan.params)}
    items = (*plan.groups, *plan.frozen)
    own = {id(item): min((position[name] for name in item.members), default=len(position)) for item in items}
    first = _first_of_rule(items, own)
    return sorted(items, key=lambda item: (first[item.rule], label_of(item) != item.rule, own[id(item)]))


def label_of(item: Group | FrozenSet) -> str:
    """Return what a group or a frozen set is called in a table."""
    return item.name if isinstance(item, Group) else item.rule


def is_masked(group: str) -> bool:
    """Return whether ``no_decay`` set the weight decay of a group, by its name.

    >>> is_masked("top/no_decay"), is_masked("top/no_decay (2)"), is_masked("top (2)")
    (True, True, False)
    """
    return MASKED.search(group) is not None


def with_twins(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows with each ``/no_decay`` twin joined to its group, in the place of the first of the two."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        key = (MASKED.sub("", row.group), row.selected_by, row.trainable, row.lr, row.options)
        found.setdefault(key, []).append(row)
    for alike in found.values():
        yield _joined(sorted(alike, key=lambda row: is_masked(row.group)))


def _joined(rows: list[Row]) -> Row:
    decays = tuple(dict.fromkeys(value for row in rows for value in row.weight_decay))
    sizes = {
        "tensors": sum(row.tensors for row in rows),
        "parameters": sum(row.parameters for row in rows),
    }
    return replace(rows[0], weight_decay=decays, **sizes)


def _with_runs(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows with neighbouring layers joined that are alike in all but number and rate."""
    for _, members in groupby(enumerate(rows), key=lambda pair: _likeness(*pair)):
        alike = [row for _, row in members]
        yield alike[0] if len(alike) == 1 else _run(alike)


def _likeness(position: int, row: Row) -> tuple[object, ...]:
    rung = RUNG.fullmatch(row.group)
    if rung is None or not row.trainable:
        return (position,)
    alike = replace(row, group="", lr=())
    return (rung["rule"], rung["kind"], int(rung["number"]) - position, alike)


def _run(rows: list[Row]) -> Row:
    first, last = (RUNG.fullmatch(row.group) for row in (rows[0], rows[-1]))
    assert first is not None and last is not None
    name = f"{first['rule']}{first['kind']}s {first['number']}-{last['number']}"
    rates = sorted({rate for row in rows for rate in row.lr})
    return replace(_joined(rows), group=name, lr=tuple(dict.fromkeys((rates[0], rates[-1]))))


def _first_of_rule(items: Iterable[Group | FrozenSet], own: dict[int, int]) -> dict[str, int]:
    first: dict[str, int] = {}
    for item in items:
        first[item.rule] = min(first.get(item.rule, own[id(item)]), own[id(item)])
    return first


def _row(item: Group | FrozenSet, plan: Plan, phase: int) -> Row:
    size = {"tensors": len(item.members), "parameters": item.numel}
    rate = item.lr[phase] if isinstance(item, Group) else None
    if rate is None:
        return Row(label_of(item), item.selected_by, False, (), (), (), **size)
    base = plan.optimizer_of(item).options if isinstance(item, Group) else ()
    own = tuple(pair for pair in item.options[phase] if pair not in base)
    decay = (item.weight_decay[phase],)
    return Row(item.name, item.selected_by, True, (rate,), decay, own, **size)
