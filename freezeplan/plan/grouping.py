"""The static partition: which tensors share every number in every phase."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from freezeplan.plan.records import Assignment, FrozenSet, Group, PlannedParam


def partition(
    params: Sequence[PlannedParam],
    phases: Sequence[Sequence[Assignment]],
    selected_by: dict[str, str],
    written: Mapping[str, Collection[str]] | None = None,
) -> tuple[tuple[Group, ...], tuple[FrozenSet, ...]]:
    """Return the groups of all tensors that any phase trains, and the rest by the rule that froze it.

    A group has the name of the rule under which it first trains. ``phases`` holds one assignment per
    parameter and phase, ``written`` the options that each optimizer's table sets, by its label. Groups come in
    the order of their first tensor; so do the members of each.
    """
    trained: dict[tuple[object, ...], list[int]] = {}
    frozen: dict[str, list[int]] = {}
    for index in range(len(params)):
        history = tuple(phase[index] for phase in phases)
        if any(what.trainable for what in history):
            trained.setdefault(_key(history), []).append(index)
        else:
            frozen.setdefault(_freezer(history[-1]), []).append(index)
    names = _unique_names([_wanted_name(phases, members) for members in trained.values()])
    groups = [
        _group(name, params, phases, members, selected_by, written or {})
        for name, members in zip(names, trained.values(), strict=True)
    ]
    rows = [_frozen(rule, params, members, selected_by) for rule, members in frozen.items()]
    return tuple(groups), tuple(rows)


def _freezer(what: Assignment) -> str:
    return dict(what.decided).get("state", what.rule)


def _key(history: tuple[Assignment, ...]) -> tuple[object, ...]:
    """Return what tensors of one group have in common; a frozen tensor has no numbers to share."""
    return tuple(
        (what.rule, what.optimizer, what.lr, what.weight_decay, what.options, what.masked, what.rung)
        if what.trainable
        else None
        for what in history
    )


def _first_trained(history: Sequence[Assignment]) -> Assignment:
    return next(what for what in history if what.trainable)


def _wanted_name(phases: Sequence[Sequence[Assignment]], members: list[int]) -> str:
    first = _first_trained([phase[members[0]] for phase in phases])
    parts = [first.rule, first.optimizer, first.rung, "no_decay" if first.masked else ""]
    return "/".join(part for part in parts if part)


def _unique_names(wanted: list[str]) -> list[str]:
    names: list[str] = []
    for name in wanted:
        unique, number = name, 2
        while unique in names or (number > 2 and unique in wanted):
            unique, number = f"{name} ({number})", number + 1
        names.append(unique)
    return names


def _group(
    name: str,
    params: Sequence[PlannedParam],
    phases: Sequence[Sequence[Assignment]],
    members: list[int],
    selected_by: dict[str, str],
    written: Mapping[str, Collection[str]],
) -> Group:
    first = [phase[members[0]] for phase in phases]
    rule, optimizer = _first_trained(first).rule, first[0].optimizer
    return Group(
        name=name,
        rule=rule,
        selected_by=selected_by.get(rule, ""),
        members=tuple(params[index].name for index in members),
        numel=sum(params[index].numel for index in members),
        lr=tuple(what.lr if what.trainable else None for what in first),
        weight_decay=tuple(what.weight_decay for what in first),
        options=tuple(what.options for what in first),
        written=_written(phases, members, written.get(optimizer, ())),
        optimizer=optimizer,
    )


def _written(
    phases: Sequence[Sequence[Assignment]], members: list[int], everywhere: Collection[str]
) -> tuple[str, ...]:
    """Return the options that are set for all tensors, or by a rule for one of these in some phase."""
    decided = {key for phase in phases for index in members for key, _ in phase[index].decided}
    options = (key for key, _ in phases[0][members[0]].options)
    return tuple(key for key in options if key in everywhere or key in decided)


def _frozen(
    rule: str, params: Sequence[PlannedParam], members: list[int], selected_by: dict[str, str]
) -> FrozenSet:
    names = tuple(params[index].name for index in members)
    return FrozenSet(rule, selected_by.get(rule, ""), names, sum(params[index].numel for index in members))
