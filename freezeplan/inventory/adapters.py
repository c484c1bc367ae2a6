"""Finds what an adapter library added to a model, what of it trains, and what it keeps as it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from freezeplan.inventory.records import IDLE, UNSAVED, ParamInfo
from freezeplan.inventory.structure import Hints, Tree, ancestors, last, parent, smallest


def is_adapter_name(name: str) -> bool:
    """Tell by name whether a parameter was added by an adapter, where only names are known.

    >>> is_adapter_name("encoder.query.lora_A.default.weight"), is_adapter_name("encoder.query.weight")
    (True, False)
    """
    return any(
        part.startswith(("lora_", "ia3_", "hada_", "oft_", "vera_lambda_")) for part in name.split(".")
    )


def find_adapters(tree: Tree, hints: Hints) -> tuple[str, ...]:
    """Return the modules and parameters that adapters train: what the library added and does not hold fixed.

    Where it holds all of them fixed (they were loaded to predict with), all count. Where the library is not asked,
    they are found by their names.
    """
    inside = _added(tree.params, hints)
    if inside:
        trained = {info.name for info in inside if info.held is None} or {info.name for info in inside}
        trained |= {info.name for info in tree.params if hints.adapter_bias and _is_thawed_bias(info)}
        named = [path for path in hints.adapters if tree.below(path) and _all_below(tree, path, trained)]
        return smallest([*named, *(info.name for info in tree.params if info.name in trained)])
    if any(info.classes for info in tree.modules):
        return ()
    return smallest(_adapter_root(info.name) for info in tree.params if is_adapter_name(info.name))


def _added(params: Iterable[ParamInfo], hints: Hints) -> list[ParamInfo]:
    roots = frozenset(hints.adapters)
    return [info for info in params if _is_active(info.name, roots, hints.inactive)]


def _is_active(name: str, roots: frozenset[str], inactive: frozenset[str]) -> bool:
    """Tell whether a parameter is part of an adapter: behind the place where all of a kind stand comes its name."""
    for path in ancestors(name):
        if path in roots:
            return name[len(path) + 1 :].partition(".")[0] not in inactive
    return False


def _all_below(tree: Tree, path: str, trained: set[str]) -> bool:
    return all(info.name in trained for info in tree.below(path))


def _is_thawed_bias(info: ParamInfo) -> bool:
    return last(info.name) == "bias" and info.held is None


def _adapter_root(name: str) -> str:
    path = name
    while is_adapter_name(parent(path)):
        path = parent(path)
    return path


def with_held(params: tuple[ParamInfo, ...], hints: Hints, trained: frozenset[str]) -> tuple[ParamInfo, ...]:
    """Return the parameters with what an adapter library makes of those that it does not train.

    ``trained`` holds what :func:`find_adapters` returned. An inactive adapter, and an original that a saved copy
    stands in for, is idle; what the library's ``save_pretrained`` leaves out is unsaved.
    """
    if not hints.adapters:
        return params
    idle = frozenset((*hints.adapters, *hints.originals))
    return tuple(replace(info, held=_held(info, hints, trained, idle)) for info in params)


def _held(info: ParamInfo, hints: Hints, trained: frozenset[str], idle: frozenset[str]) -> str | None:
    above = ancestors(info.name)
    if not trained.isdisjoint(above):
        return None
    if not idle.isdisjoint(above):
        return IDLE
    if info.name in hints.saved:
        return None
    return UNSAVED if hints.adapters_only else info.held
