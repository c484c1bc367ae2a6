"""Finds the experts of mixture-of-experts layers and the modules that route tokens to them."""

from __future__ import annotations

from collections.abc import Iterable

from freezeplan.inventory.candidates import numbered_children
from freezeplan.inventory.structure import Tree, ancestors, last, parent, smallest


def find_experts(tree: Tree) -> dict[str, int]:
    """Return the outermost modules that hold routed experts, each with how many there are.

    They say so in their class or name, and hold the experts either as two or more numbered modules or stacked
    in tensors of three dimensions; those that all tokens pass are fewer, or stand alone.
    """
    counts = {
        path: count for path in tree.by_path if _named(tree, path) and (count := _count(tree, path)) > 1
    }
    found = smallest(counts)
    most = {home: max(counts[path] for path in found if parent(path) == home) for home in map(parent, found)}
    return {path: counts[path] for path in found if counts[path] == most[parent(path)]}


def _named(tree: Tree, path: str) -> bool:
    return bool(path) and any("expert" in name.lower() for name in (last(path), *tree.classes(path)[:1]))


def _count(tree: Tree, path: str) -> int:
    items = _numbered(tree, path)
    if items:
        return len(items)
    stacked = [info.shape[0] for info in tree.own.get(path, ()) if len(info.shape) == 3]
    return max(stacked, default=0)


def _numbered(tree: Tree, path: str) -> tuple[str, ...]:
    """Return numbered experts, which some models name expert_0, expert_1 …"""
    items = numbered_children(tree, path)
    if items:
        return items
    named = [child for child in tree.children[path] if last(child).rpartition("_")[2].isdecimal()]
    return tuple(named) if len(named) == len(tree.children[path]) else ()


def find_routers(tree: Tree, experts: dict[str, int]) -> tuple[str, ...]:
    """Return the modules that choose among experts: beside them, called routers or with one output per expert."""
    return smallest(path for home, count in experts.items() for path in _routers(tree, home, count, experts))


def _routers(tree: Tree, home: str, count: int, experts: dict[str, int]) -> Iterable[str]:
    """Yield the routers of one group of experts, from the nearest ancestor that has some."""
    for up in ancestors(home)[1:3]:
        beside = [child for child in tree.children[up] if not _holds_experts(child, experts)]
        named = [child for child in beside if _is_router(tree, child)]
        found = named or [child for child in beside if _chooses(tree, child, count)]
        found += [info.name for info in tree.own.get(up, ()) if _is_choice(info.shape, count)]
        if found:
            yield from found
            return


def _is_router(tree: Tree, path: str) -> bool:
    names = (last(path), *tree.classes(path)[:1])
    return any("router" in name.lower() for name in names) and bool(tree.below(path))


def _holds_experts(path: str, experts: dict[str, int]) -> bool:
    return any(path in ancestors(home) for home in experts)


def _chooses(tree: Tree, path: str, count: int) -> bool:
    matrices = [info.shape for info in tree.below(path) if len(info.shape) > 1]
    return len(matrices) == 1 and _is_choice(matrices[0], count)


def _is_choice(shape: tuple[int, ...], count: int) -> bool:
    return len(shape) == 2 and count in shape and shape[0] != shape[1]
