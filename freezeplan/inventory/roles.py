"""Finds what the roles of a selector name, from the structure of the module tree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from freezeplan.inventory.experts import find_adapters, find_experts, find_routers
from freezeplan.inventory.records import Doubt, Inventory, ParamInfo, Stack
from freezeplan.inventory.stacks import find_stacks
from freezeplan.inventory.structure import (
    Hints,
    Tree,
    ancestors,
    cover,
    is_under,
    last,
    parent,
    smallest,
    under_any,
)

TORCH_NORMS = ("LayerNorm", "RMSNorm", "GroupNorm", "_NormBase")


@dataclass(frozen=True)
class Parts:
    """Hold the tree together with the parts found so far, each as module or parameter paths."""

    tree: Tree
    hints: Hints
    base: str
    stacks: tuple[Stack, ...]
    doubts: tuple[Doubt, ...] = ()
    heads: tuple[str, ...] = ()
    pooler: tuple[str, ...] = ()
    final_norm: tuple[str, ...] = ()

    @cached_property
    def order(self) -> dict[str, int]:
        """The place of each module in registration order."""
        return {info.path: place for place, info in enumerate(self.tree.modules)}

    @property
    def layers(self) -> tuple[str, ...]:
        """The paths of all layers of the main stacks."""
        return tuple(path for stack in self.stacks if stack.main for span in stack.spans for path in span)


def with_structure(inventory: Inventory, hints: Hints) -> Inventory:
    """Return the inventory with its base, stacks, role nodes, and each parameter's roles and layer."""
    tree = Tree(inventory.params, inventory.modules)
    parts = _find_parts(tree, hints)
    experts = find_experts(tree)
    nodes = {
        "backbone": _backbone(parts),
        "heads": parts.heads,
        "embeddings": _embeddings(parts),
        "pooler": parts.pooler,
        "final_norm": parts.final_norm,
        "experts": tuple(experts),
        "router": find_routers(tree, experts),
        "adapters": find_adapters(tree, hints.adapters),
        "norm": tuple(info.path for info in tree.modules if is_norm(tree, info.path)),
        "bias": tuple(info.name for info in tree.params if is_bias(info)),
    }
    sets = {role: frozenset(paths) for role, paths in nodes.items()}
    layers = {path: at for stack in parts.stacks for path, at in _places(stack, stack.spans)}
    stages = {path: at for stack in parts.stacks for path, at in _places(stack, stack.stages)}
    params = tuple(_with_roles(info, sets, layers, stages) for info in tree.params)
    return replace(
        inventory,
        params=params,
        base=parts.base,
        stacks=parts.stacks,
        role_nodes=nodes,
        doubts=parts.doubts,
    )


def _find_parts(tree: Tree, hints: Hints) -> Parts:
    found = find_stacks(tree, hints)
    stacks = found.stacks
    base = hints.base if hints.base is not None else _base(tree, hints, stacks)
    parts = Parts(tree, hints, base, stacks, found.doubts)
    parts = replace(parts, heads=_heads(parts))
    parts = replace(parts, pooler=_pooler(parts))
    return replace(parts, final_norm=_final_norm(parts))


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
    rest = [info.name for info in parts.tree.params if not under_any(info.name, parts.heads)]
    if parts.base and all(is_under(name, parts.base) for name in rest):
        return (parts.base,)
    if not parts.heads:
        return ("",)
    return cover(parts.tree, rest)


def _heads(parts: Parts) -> tuple[str, ...]:
    """Return what is outside the base; never a subtree that holds a stack or the input embedding."""
    tree, hints = parts.tree, parts.hints
    if hints.heads is not None:
        return hints.heads
    if not parts.base and not hints.head_only:
        return ()
    if hints.base_children is not None:
        return tuple(path for path in _beside_base(parts, "") if last(path) not in hints.base_children)
    own = [info.name for info in tree.own.get("", ()) if parts.base]
    return tuple(own) + tuple(_beside_base(parts, ""))


def _beside_base(parts: Parts, path: str) -> Iterable[str]:
    for child in parts.tree.children[path]:
        if not parts.tree.below(child) or (parts.base and is_under(child, parts.base)):
            continue
        if parts.base and is_under(parts.base, child):
            yield from _beside_base(parts, child)
        elif not _holds_trunk(parts, child):
            yield child


def _holds_trunk(parts: Parts, path: str) -> bool:
    stacks = [stack.path for stack in parts.stacks if stack.main]
    return any(is_under(inner, path) for inner in (*stacks, *parts.hints.input_embeddings))


def _pooler(parts: Parts) -> tuple[str, ...]:
    named = [path for path in parts.tree.by_path if "pooler" in last(path).lower() and parts.tree.below(path)]
    return smallest(
        path
        for path in named
        if not under_any(path, (*parts.layers, *parts.heads)) and not _holds_trunk(parts, path)
    )


def _final_norm(parts: Parts) -> tuple[str, ...]:
    found = [path for stack in parts.stacks if stack.main for path in _norms_beside(parts, stack)]
    return smallest(path for path in found if not under_any(path, (*parts.heads, *parts.pooler)))


def _norms_beside(parts: Parts, stack: Stack) -> Iterable[str]:
    """Yield the norms around a stack that run after it."""
    for before, inside, after in _levels(parts, stack):
        for path in (*before, *after):
            if _is_norm_only(parts.tree, path) and _runs_after(parts, inside, path, path in after):
                yield path


def _runs_after(parts: Parts, inside: str, norm: str, registered_after: bool) -> bool:
    """Tell whether a module runs after its sibling: by the code that runs both, else by registration and name."""
    uses = parts.hints.uses(parent(norm)) if parts.hints.uses else {}
    first, second = uses.get(last(inside)), uses.get(last(norm))
    if first and second:
        return second[1] > first[0]
    return ("emb" not in last(norm).lower()) if registered_after else "final" in last(norm)


def _is_norm_only(tree: Tree, path: str) -> bool:
    return is_norm(tree, path) and all(len(info.shape) <= 1 for info in tree.below(path))


def _levels(parts: Parts, stack: Stack) -> Iterable[tuple[list[str], str, list[str]]]:
    """Yield, from the stack up to its tower's root, the siblings before and after the way to the stack."""
    others = [other.path for other in parts.stacks if other.main and other.path != stack.path]
    for inside in ancestors(stack.path):
        up = parent(inside)
        if not inside or not is_under(up, parts.base) or any(is_under(other, inside) for other in others):
            return
        siblings = parts.tree.children[up]
        place = siblings.index(inside)
        alone = not any(is_under(other, up) for other in others)
        if alone:
            yield list(siblings[:place]), inside, list(siblings[place + 1 :])


def _embeddings(parts: Parts) -> tuple[str, ...]:
    tree = parts.tree
    roots = [*parts.hints.input_embeddings]
    roots += [path for path in tree.by_path if is_embedding(tree, path)]
    roots += [path for stack in parts.stacks if stack.main for path in _norms_of_embeddings(parts, stack)]
    roots += [path for stack in parts.stacks if stack.main for path in _before(parts, stack)]
    out = (*parts.layers, *parts.heads, *parts.pooler, *parts.final_norm, *_later_stages(parts))
    kept = smallest(root for root in roots if not under_any(root, out) and not _holds_stack(parts, root))
    return cover(tree, [info.name for info in tree.params if under_any(info.name, kept)])


def _norms_of_embeddings(parts: Parts, stack: Stack) -> Iterable[str]:
    """Yield the norms that are registered after a stack but run before it."""
    for _, inside, after in _levels(parts, stack):
        norms = (path for path in after if _is_norm_only(parts.tree, path))
        yield from (path for path in norms if not _runs_after(parts, inside, path, True))


def _later_stages(parts: Parts) -> Iterable[str]:
    """Yield what follows the first layer of a stack in stages: what embeds there makes the image smaller."""
    for stack in parts.stacks:
        if stack.stages and stack.main:
            first = parts.order[stack.layers[0]]
            stages = [path for paths in stack.stages for path in paths]
            yield from (path for paths in stack.stages[1:] for path in paths)
            yield from (
                path
                for path in parts.tree.by_path
                if parts.order[path] > first and is_embedding(parts.tree, path) and under_any(path, stages)
            )


def _holds_stack(parts: Parts, path: str) -> bool:
    return any(is_under(stack.path, path) for stack in parts.stacks if stack.main)


def _before(parts: Parts, stack: Stack) -> Iterable[str]:
    """Yield what is registered before a stack, and the tokens and positions that modules around it hold."""
    for before, inside, _ in _levels(parts, stack):
        yield from (path for path in before if _takes_inputs(parts.tree, path))
        own = parts.tree.own.get(parent(inside), ())
        yield from (info.name for info in own if len(info.shape) >= 2)


def _takes_inputs(tree: Tree, path: str) -> bool:
    """Tell a first projection from a network: a convolution or an embedding in it, or at most one matrix."""
    sizes = [len(info.shape) for info in tree.below(path)]
    inside = (other for other in tree.by_path if is_under(other, path))
    return max(sizes, default=0) > 2 or sizes.count(2) < 2 or any(is_embedding(tree, at) for at in inside)


def is_embedding(tree: Tree, path: str) -> bool:
    """Tell whether a module looks up or computes embeddings: by class, or by name where no class is known."""
    if not path or not tree.below(path):
        return False
    names = tree.classes(path) or (last(path),)
    return any("embed" in name.lower() for name in names) or (
        not tree.classes(path) and last(path) in ("wte", "wpe")
    )


def is_norm(tree: Tree, path: str) -> bool:
    """Tell whether a module is a normalisation: by class, holding only vectors of its own."""
    own = tree.own.get(path, ())
    if not own or any(len(info.shape) > 1 for info in own):
        return False
    names = tree.classes(path) or (last(path),)
    return any(name in TORCH_NORMS or "norm" in name.lower() for name in names) or (
        not tree.classes(path) and last(path).startswith("ln_")
    )


def is_bias(info: ParamInfo) -> bool:
    """Tell whether a parameter is a bias: a vector whose own name ends with ``bias``."""
    return last(info.name).endswith("bias") and len(info.shape) <= 1


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


def _places(stack: Stack, spans: tuple[tuple[str, ...], ...]) -> Iterable[tuple[str, Place]]:
    for index, span in enumerate(spans):
        yield from ((path, (stack, index)) for path in span)
