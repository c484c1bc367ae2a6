"""Short cuts to the matcher and the compiler for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.inventory.records import Inventory, ModuleInfo, ParamInfo
from freezeplan.plan import masks
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.plan.select import select
from freezeplan.plan.tree import NameTree
from freezeplan.spec.reading import load_spec
from freezeplan.spec.selector import parse_selector


def selected(inventory: Inventory, pattern: str) -> tuple[frozenset[str], bool]:
    """Return the names that a pattern selects, and whether part of it was reported as a miss."""
    tree = NameTree(inventory)
    match = select(tree, parse_selector(pattern))
    positions = masks.positions_of(match.mask, tree.size)
    return frozenset(inventory.params[tree.order[p]].name for p in positions), any(
        miss.code != "FP218" for miss in match.misses
    )


def untied(inventory: Inventory) -> Inventory:
    """Return the inventory with every name a tensor of its own."""
    return replace(inventory, params=tuple(replace(info, alias_of=None) for info in inventory.params))


def named(*names: str, **more: Any) -> Inventory:
    """Return an inventory of parameters of shape (2,) by name, with the modules that their paths imply."""
    return sized({name: (2,) for name in names}, **more)


def sized(
    shapes: dict[str, tuple[int, ...]], classes: dict[str, str] | None = None, **more: Any
) -> Inventory:
    """Return an inventory of parameters by name and shape; ``classes`` names the classes of modules."""
    ties = more.pop("ties", {})
    paths = dict.fromkeys(path for name in shapes for path in _parents(name))
    modules = tuple(ModuleInfo(path, ((classes or {}).get(path, "Module"),)) for path in paths)
    params = tuple(
        ParamInfo(name, shape, "float32", name.rpartition(".")[0], ties.get(name))
        for name, shape in shapes.items()
    )
    return Inventory("made", params, modules, origin="made", **more)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(len(parts))]


def rule(match: str | Sequence[str], state: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a rule's table; ``except_`` stands for ``except``."""
    table = {"match": match, "state": state, **{key.rstrip("_"): value for key, value in more.items()}}
    return {key: value for key, value in table.items() if value is not None}


def compiled(inventory: Inventory, *rules: dict[str, Any], **optimizer: Any) -> Plan:
    """Compile rules against an inventory; keywords go into ``[optimizer]`` (``no_decay`` is empty by default)."""
    return compile_plan(
        inventory, load_spec({"optimizer": {"no_decay": [], **optimizer}, "rule": list(rules)})
    )


def errors_of(inventory: Inventory, *rules: dict[str, Any], **optimizer: Any) -> list[Diagnostic]:
    """Return the errors of a spec that must not compile against an inventory."""
    try:
        compiled(inventory, *rules, **optimizer)
    except DiagnosticError as error:
        return [item for item in error.diagnostics if item.is_error]
    raise AssertionError("the spec compiled")


def codes_of(inventory: Inventory, *rules: dict[str, Any], **optimizer: Any) -> list[str]:
    """Return the codes of those errors, sorted."""
    return sorted(item.code for item in errors_of(inventory, *rules, **optimizer))


def states(plan: Plan) -> dict[str, str]:
    """Return the state of each tensor of the first phase by name."""
    return {p.name: what.state for p, what in zip(plan.params, plan.phases[0].assignments, strict=True)}


def assignments(plan: Plan) -> dict[str, Any]:
    """Return the assignment of each tensor of the first phase by name."""
    return {p.name: what for p, what in zip(plan.params, plan.phases[0].assignments, strict=True)}
