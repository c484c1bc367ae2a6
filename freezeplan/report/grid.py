"""The plan as layers x phases: what each phase does with each layer, and with what stands beside the layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from freezeplan.plan.records import Assignment, Plan, PlannedParam
from freezeplan.report.records import GridCell, GridRow

MOST_ROWS = 80
"""Of more rows than this, neighbours that are treated alike are one."""
Key = tuple[str, int | None]


def grid_rows(plan: Plan) -> tuple[GridRow, ...]:
    """Return a row for each layer and each part beside the layers, in the order of the model, from the input up."""
    members: dict[Key, list[int]] = {}
    for place, param in enumerate(plan.params):
        members.setdefault(_key(param), []).append(place)
    names = _names(list(members))
    rows = [_row(plan, names[key], places) for key, places in members.items()]
    return tuple(rows if len(rows) <= MOST_ROWS else _folded(rows))


def _key(param: PlannedParam) -> Key:
    """Return what a tensor belongs to: a layer below some path, or what its name begins with.

    That is the part up to the first number where there is one (a block that is no layer), else the first two parts.
    """
    parts = param.name.split(".")
    first = next((place for place, part in enumerate(parts) if part.isdecimal()), len(parts))
    if param.layer is not None:
        return ".".join(parts[:first]), param.layer
    numbered = first < len(parts) - 1 and parts[0] != "heads"
    return ".".join(parts[: first + 1 if numbered else max(1, min(2, len(parts) - 1))]), None


def _names(keys: list[Key]) -> dict[Key, str]:
    stacks = {path for path, layer in keys if layer is not None}
    return {key: _name(*key, alone=len(stacks) == 1) for key in keys}


def _name(path: str, layer: int | None, *, alone: bool) -> str:
    if layer is None:
        return path.removeprefix("backbone.")
    return f"layer {layer}" if alone else f"{path.removeprefix('backbone.')} layer {layer}"


def _row(plan: Plan, name: str, places: list[int]) -> GridRow:
    cells = [
        _cell([(plan.params[place], phase.assignments[place]) for place in places]) for phase in plan.phases
    ]
    return GridRow(name, sum(plan.params[place].numel for place in places), tuple(cells))


def _cell(members: list[tuple[PlannedParam, Assignment]]) -> GridCell:
    trained = [(param, what) for param, what in members if what.trainable]
    if not trained:
        return GridCell(0.0, None, None)
    whole, part = (sum(param.numel for param, _ in some) for some in (members, trained))
    share = 1.0 if len(trained) == len(members) else part / max(whole, 1)
    rates = [what.lr for _, what in trained]
    return GridCell(share, min(rates), max(rates))


def _folded(rows: list[GridRow]) -> Iterator[GridRow]:
    for _, alike in groupby(rows, key=lambda row: (row.cells, row.name.rstrip("0123456789"))):
        found = list(alike)
        name = found[0].name if len(found) == 1 else f"{found[0].name} to {found[-1].name}"
        yield replace(found[0], name=name, parameters=sum(row.parameters for row in found))
