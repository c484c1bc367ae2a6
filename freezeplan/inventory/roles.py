"""Finds what the roles of a selector name, from the structure of the module tree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from freezeplan.inventory.adapters import find_adapters, with_held
from freezeplan.inventory.beside import find_heads, holds_trunk, second_models
from freezeplan.inventory.biases import is_bias
from freezeplan.inventory.embeddings import find_embeddings, unsure_embeddings
from freezeplan.inventory.experts import find_experts, find_routers
from freezeplan.inventory.parts import Parts, is_embedding, is_norm, is_norm_only, levels, runs_after
from freezeplan.inventory.records import Doubt, Inventory, ParamInfo, Stack
from freezeplan.inventory.stacks import find_stacks
from freezeplan.inventory.structure import (
    Hints,
    Tree,
    ancestors,
    cover,
    is_under,
    last,
    smallest,
    under_any,
)


def with_structure(inventory: Inventory, hints: Hints) -> Inventory:
    """Return the inventory with its base, stacks, role nodes, and each parameter's roles and layer."""
    tree = Tree(inventory.params, inventory.modules)
    parts = _find_parts(tree, hints)
    experts = find_experts(tree)
    nodes = {
        "backbone": _backbone(parts),
        "heads": parts.heads,
        "embeddings": find_embeddings(parts),
        "pooler": parts.pooler,
        "final_norm": parts.final_norm,
        "experts": tuple(experts),
        "router": find_routers(tree, experts),
        "adapters": find_adapters(tree, hints),
        "norm": tuple(info.path for info in tree.modules if is_norm(tree, info.path)),
        "bias": tuple(info.name for info in tree.params if is_bias(tree, info)),
    }
    sets = {role: frozenset(paths) for role, paths in nodes.items()}
    layers = {path: at for stack in parts.stacks for path, at in _places(stack, stack.spans)}
    stages = {path: at for stack in parts.stacks for path, at in _places(stack, stack.stages)}
    params = tuple(_with_roles(_as_grouped(info, hints), sets, layers, stages) for info in tree.params)
    return replace(
        inventory,
        params=with_held(params, hints, sets["adapters"]),
        base=parts.base,
        stacks=parts.stacks,
        role_nodes=nodes,
        doubts=tuple(_with_embeddings(parts, doubt) for doubt in parts.doubts),
    )


def _with_embeddings(parts: Parts, doubt: Doubt) -> Doubt:
    """Let a doubt about the layers reach the embeddings where they are found by what runs before layers."""
    return replace(doubt, roles=(*doubt.roles, "embeddings")) if unsure_embeddings(parts, doubt) else doubt


def _find_parts(tree: Tree, hints: Hints) -> Parts:
    found = find_stacks(tree, hints)
    stacks = found.stacks
    base = hints.base if hints.base is not None else _base(tree, hints, stacks)
    parts = _with_heads(Parts(tree, hints, base, stacks, found.doubts + hints.doubts))
    parts = replace(parts, pooler=_pooler(parts))
    return replace(parts, final_norm=_final_norm(parts))


def _with_heads(parts: Parts) -> Parts:
    doubts = second_models(parts)
    if doubts:
        return replace(parts, base="", doubts=parts.doubts + doubts)
    return replace(parts, heads=find_heads(parts))


def _base(tree: Tree, hints: Hints, stacks: tuple[Stack, ...]) -> str:
    """Where only names are known, take the child that holds all stacks and an embedding for the base."""
    if any(info.classes for info in tree.modules):
        return ""
    for child in tree.children[""]:
        embedded = any(is_embedding(tree, path) and is_under(path, child) for path in tree.by_path)
        if embedded and stacks and all(is_under(stack.path, child) for stack in stacks if stack.main):
            return child
    return ""


def _backbone(parts: Parts) -> tuple[str, ...]:
    if any("backbone" in doubt.roles for doubt in parts.doubts):
        return ()
    beside = (*parts.heads, *parts.prompts)
    rest = [info.name for info in parts.tree.params if not under_any(info.name, beside)]
    whole = not under_any(parts.base, beside) and not any(is_under(path, parts.base) for path in beside)
    if parts.base and whole and all(is_under(name, parts.base) for name in rest):
        return (parts.base,)
    if not beside:
        return ("",)
    return cover(parts.tree, rest)


def _pooler(parts: Parts) -> tuple[str, ...]:
    named = [path for path in parts.tree.by_path if "pooler" in last(path).lower() and parts.tree.below(path)]
    return smallest(
        path
        for path in named
        if not under_any(path, (*parts.layers, *parts.heads)) and not holds_trunk(parts, path)
    )


def _final_norm(parts: Parts) -> tuple[str, ...]:
    found = [path for stack in parts.stacks if stack.main for path in _norms_beside(parts, stack)]
    return smallest(path for path in found if not under_any(path, (*parts.heads, *parts.pooler)))


def _norms_beside(parts: Parts, stack: Stack) -> Iterable[str]:
    """Yield the norms around a stack that run after it."""
    for before, inside, after in levels(parts, stack):
        for path in (*before, *after):
            if is_norm_only(parts.tree, path) and runs_after(parts, inside, path, path in after):
                yield path


Place = tuple[Stack, int]


def _with_roles(
    info: ParamInfo, nodes: dict[str, frozenset[str]], layers: dict[str, Place], stages: dict[str, Place]
) -> ParamInfo:
    above = ancestors(info.name)
    roles = {role for role, paths in nodes.items() if not paths.isdisjoint(above)}
    layer = next((layers[path] for path in above if path in layers), None)
    stage = next((stages[path] for path in above if path in stages), None)
    roles.update(
        role for role, place in (("layers", layer), ("stages", stage)) if place is not None and place[0].main
    )
    home = layer or stage
    return replace(
        info,
        roles=frozenset(roles),
        stack=home[0].path if home else None,
        layer=layer[1] if layer else None,
        stage=stage[1] if stage else None,
    )


def _as_grouped(info: ParamInfo, hints: Hints) -> ParamInfo:
    """Return a parameter with the group that the model puts its tensor in, the top one for what it leaves out."""
    tensor = info.alias_of or info.name
    rung = hints.grouping.rungs.get(tensor, hints.grouping.top) if hints.grouping else None
    return replace(info, rung=rung, undecayed=tensor in hints.undecayed)


def _places(stack: Stack, spans: tuple[tuple[str, ...], ...]) -> Iterable[tuple[str, Place]]:
    for index, span in enumerate(spans):
        yield from ((path, (stack, index)) for path in span)
