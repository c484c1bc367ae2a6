"""The rows of the plan's table: one per group and per frozen set, in the order of the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from freezeplan.plan.records import FrozenSet, Group, Options, Plan


@dataclass(frozen=True)
class Row:
    """One line of the table. ``lr`` and ``weight_decay`` are None where nothing trains.

    ``options`` holds the optimizer options in which the group differs from the optimizer's own.
    """

    group: str
    selected_by: str
    trainable: bool
    lr: float | None
    weight_decay: float | None
    options: Options
    tensors: int
    parameters: int

    @property
    def state(self) -> str:
        """The word for what happens to the row's tensors."""
        return "trainable" if self.trainable else "frozen"


def plan_rows(plan: Plan, phase: int = 0) -> tuple[Row, ...]:
    """Return one row per group and frozen set, ordered by where its rule first occurs in the model.

    Groups of one rule stay together, the one that bears the rule's name first.
    """
    return tuple(_row(item, plan, phase) for item in ordered_items(plan))


def ordered_items(plan: Plan) -> list[Group | FrozenSet]:
    """Return groups and frozen sets in the order in which they are shown."""
    position = {param.name: index for index, param in enumerate(plan.params)}
    items = (*plan.groups, *plan.frozen)
    own = {id(item): min((position[name] for name in item.members), default=len(position)) for item in items}
    first = _first_of_rule(items, own)
    return sorted(items, key=lambda item: (first[item.rule], _label(item) != item.rule, own[id(item)]))


def _label(item: Group | FrozenSet) -> str:
    return item.name if isinstance(item, Group) else item.rule


def _first_of_rule(items: Iterable[Group | FrozenSet], own: dict[int, int]) -> dict[str, int]:
    first: dict[str, int] = {}
    for item in items:
        first[item.rule] = min(first.get(item.rule, own[id(item)]), own[id(item)])
    return first


def _row(item: Group | FrozenSet, plan: Plan, phase: int) -> Row:
    size = {"tensors": len(item.members), "parameters": item.numel}
    rate = item.lr[phase] if isinstance(item, Group) else None
    if rate is None:
        return Row(_label(item), item.selected_by, False, None, None, (), **size)
    own = tuple(pair for pair in item.options[phase] if pair not in plan.optimizer_options)
    return Row(item.name, item.selected_by, True, rate, item.weight_decay[phase], own, **size)
