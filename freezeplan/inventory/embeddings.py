"""Finds the embeddings: what turns the inputs of a model into what its first layer takes."""

from __future__ import annotations

from collections.abc import Iterable

from freezeplan.inventory.parts import Parts, is_embedding, is_norm, is_norm_only, levels, runs_after
from freezeplan.inventory.records import Stack
from freezeplan.inventory.structure import Tree, ancestors, cover, is_under, last, parent, smallest, under_any


def find_embeddings(parts: Parts) -> tuple[str, ...]:
    """Return the paths of what embeds inputs.

    Embeddings are what the model itself names as such, what looks inputs up or computes with them by its
    class, and what runs between them and the first layer of a stack: norms, tokens, positions, and a first
    projection, unless it takes the hidden states of another stack. Not an embedding is a table in which
    no input is looked up, as are the queries of a decoder, and what embeds again between stages.
    """
    tree = parts.tree
    roots = [*parts.hints.input_embeddings]
    roots += [path for path in tree.by_path if _embeds(parts, path)]
    roots += [path for stack in parts.main for path in _before(parts, stack)]
    out = (
        *parts.layers,
        *parts.heads,
        *parts.pooler,
        *parts.final_norm,
        *parts.prompts,
        *_later_stages(parts),
    )
    kept = smallest(root for root in roots if not under_any(root, out) and not _holds_stack(parts, root))
    inside = (info.name for info in tree.params if under_any(info.name, kept))
    # A list of what embeds before each stage is no embedding as a whole.
    return cover(tree, [name for name in inside if not under_any(name, out)])


def _embeds(parts: Parts, path: str) -> bool:
    return is_embedding(parts.tree, path) and not _is_query(parts, path)


def _is_query(parts: Parts, path: str) -> bool:
    """Tell a table of queries: no input is looked up in it, and the part it stands in has no inputs.

    A table of positions is not looked up in everywhere either, but stands in one part with what is.
    """
    if not _is_only_read(parts, path):
        return False
    # Beside a single stack it serves that one, on whichever side it is registered.
    beside = [stack for stack in parts.main if is_under(stack.path, parent(path))]
    return _follows(parts, path, parts.order[parent(path) if len(beside) == 1 else path])


def _follows(parts: Parts, path: str, start: int) -> bool:
    """Tell whether the part around a path takes what a stack registered before ``start`` puts out.

    The part is the nearest module around the path that holds such a stack or embeds inputs.
    """
    lookups = [*parts.hints.input_embeddings, *_lookups(parts)]
    for up in ancestors(parent(path)):
        if any(is_under(stack.path, up) for stack in _earlier(parts, start)):
            return True
        if any(is_under(other, up) and other != path for other in lookups):
            return False
    return False


def _lookups(parts: Parts) -> list[str]:
    paths = [path for path in parts.tree.by_path if is_embedding(parts.tree, path)]
    return [path for path in paths if not _is_only_read(parts, path)]


def _earlier(parts: Parts, start: int) -> list[Stack]:
    return [stack for stack in parts.main if parts.order[stack.layers[0]] < start]


def _is_only_read(parts: Parts, path: str) -> bool:
    """Tell whether the code around a table reads its weight and does nothing else with it."""
    if parts.hints.only_read is None or "Embedding" not in parts.tree.classes(path):
        return False
    while last(path).isdecimal():
        path = parent(path)
    return last(path) in parts.hints.only_read(parent(path))


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
    return any(is_under(stack.path, path) for stack in parts.main)


def _before(parts: Parts, stack: Stack) -> Iterable[str]:
    """Yield what runs before a stack, and the tokens and positions that modules around it hold."""
    for before, inside, after in levels(parts, stack):
        early = [path for path in after if _runs_before(parts, path, inside)]
        if not _continues(parts, stack, inside, (*before, *early)):
            known = (path for path in (*before, *early) if not _is_query(parts, path))
            yield from (path for path in known if _takes_inputs(parts.tree, path))
            own = parts.tree.own.get(parent(inside), ())
            yield from (info.name for info in own if len(info.shape) >= 2)


def _runs_before(parts: Parts, path: str, inside: str) -> bool:
    """Tell whether a module that is registered after its sibling runs before it."""
    if is_norm_only(parts.tree, path):
        return not runs_after(parts, inside, path, True)
    uses = parts.hints.uses(parent(path)) if parts.hints.uses else {}
    here, there = uses.get(last(path)), uses.get(last(inside))
    return here is not None and there is not None and here[1] < there[0]


def _continues(parts: Parts, stack: Stack, inside: str, first: Iterable[str]) -> bool:
    """Tell whether what runs first before a stack takes the hidden states of one registered earlier."""
    start = parts.order[stack.layers[0]]
    widths = [_hidden_width(parts.tree, other) for other in _earlier(parts, start)]
    for path in first if widths else ():
        if _embeds(parts, path):
            return False
        width = _input_width(parts.tree, path)
        if width is not None and not _is_only_read(parts, path):
            return width in widths
    return bool(widths) and _follows(parts, inside, start)


def _input_width(tree: Tree, path: str) -> int | None:
    weight = next((info for info in tree.below(path) if len(info.shape) > 1), None)
    if weight is None:
        return None
    turned = any("Transpose" in name for name in tree.classes(weight.module))
    return weight.shape[0 if turned else 1]


def _hidden_width(tree: Tree, stack: Stack) -> int:
    """Return the width of the hidden states of a stack: that of the widest norm of its last layer."""
    infos = tree.below(stack.layers[-1])
    return max((info.numel for info in infos if is_norm(tree, info.module)), default=0)


def _takes_inputs(tree: Tree, path: str) -> bool:
    """Tell a first projection from a network: a convolution or an embedding in it, or at most one matrix."""
    sizes = [len(info.shape) for info in tree.below(path)]
    inside = (other for other in tree.by_path if is_under(other, path))
    return max(sizes, default=0) > 2 or sizes.count(2) < 2 or any(is_embedding(tree, at) for at in inside)
