"""Finds the embeddings: what turns the inputs of a model into what its first layer takes."""

from __future__ import annotations

from collections.abc import Iterable

from freezeplan.inventory.biases import is_vector
from freezeplan.inventory.parts import Parts, is_embedding, is_norm, is_norm_only, levels, runs_after, uses_of
from freezeplan.inventory.records import Doubt, Stack
from freezeplan.inventory.structure import Tree, ancestors, cover, is_under, last, parent, smallest, under_any

# Classes that say nothing of what a module does: layers of them are alike to any other part.
PLAIN = frozenset({"Sequential", "ModuleList", "ModuleDict", "Linear", "Conv1d", "Conv2d", "Conv3d"})


def find_embeddings(parts: Parts) -> tuple[str, ...]:
    """Return the paths of what embeds inputs.

    Embeddings are what the model itself names as such, what looks inputs up or computes with them by its
    class, and what runs between them and the first layer of a stack: norms, tokens, positions, and a first
    projection, unless it takes the hidden states of another stack. Not an embedding is a table in which
    no input is looked up, as are the queries of a decoder, what embeds again between stages, and what holds
    layers itself.
    """
    return _covered(parts, [*_known(parts), *_first(parts, parts.main)])


def unsure_embeddings(parts: Parts, doubt: Doubt) -> bool:
    """Tell whether the embeddings hold what is known only as running before lists that are in doubt."""
    known = _covered(parts, _known(parts))
    doubted = {path for path, _, _ in doubt.candidates}
    first = _first(parts, [stack for stack in parts.main if stack.path in doubted])
    return any(not under_any(path, known) for path in _covered(parts, first))


def _known(parts: Parts) -> list[str]:
    """Return what the model names as embeddings of its inputs, or what is one by its class."""
    return [*parts.hints.input_embeddings, *(path for path in parts.tree.by_path if _embeds(parts, path))]


def _first(parts: Parts, stacks: Iterable[Stack]) -> list[str]:
    found = (path for stack in stacks for path in _before(parts, stack))
    return [path for path in found if not _holds_layers(parts, path)]


def _covered(parts: Parts, roots: Iterable[str]) -> tuple[str, ...]:
    tree = parts.tree
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


def _holds_layers(parts: Parts, path: str) -> bool:
    """Tell whether a module holds what could be the layers, or a module of the class of a layer.

    Where a layer is a single convolution, so is a stem of the same class: one projection is no stage.
    """
    doubted = [at for doubt in parts.doubts for at, _, _ in doubt.candidates]
    if any(is_under(at, path) for at in doubted):
        return True
    classes = {parts.tree.classes(layer)[:1] for layer in parts.layers}
    if sum(not is_vector(info.shape) for info in parts.tree.below(path)) < 2:
        return False
    inside = (info for info in parts.tree.modules if is_under(info.path, path))
    return any(info.classes[:1] in classes and not PLAIN.intersection(info.classes[:1]) for info in inside)


def _before(parts: Parts, stack: Stack) -> Iterable[str]:
    """Yield what runs before a stack, and the tokens and positions that modules around it hold."""
    for registered, inside, after in levels(parts, stack):
        before = [path for path in registered if not _runs_later(parts, path, inside)]
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
    here, there = uses_of(parts, path, inside)
    return here is not None and there is not None and here[1] < there[0]


def _runs_later(parts: Parts, path: str, inside: str) -> bool:
    """Tell whether a module that is registered before its sibling runs after it, as the code says."""
    here, there = uses_of(parts, path, inside)
    return here is not None and there is not None and here[0] > there[1]


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
