"""Finds the heads: what stands beside the base model, in the model that holds it and in what is put around that."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from freezeplan.inventory.candidates import candidates
from freezeplan.inventory.parts import Parts
from freezeplan.inventory.records import Doubt, ParamInfo
from freezeplan.inventory.structure import is_under, last, smallest, under_any

COLOURS = 3


def unknown_parts(reason: str, example: str) -> Doubt:
    """Return the doubt where a base ends and its heads begin; ``example`` is a path that a spec can name."""
    advice = "name the modules by their paths" + (f", such as `{example}`" if example else "")
    return Doubt(("backbone", "heads"), "", reason, advice=advice)


def find_heads(parts: Parts) -> tuple[str, ...]:
    """Return what is outside the base; in a library's model never a subtree that holds a stack or embeds inputs."""
    inside = smallest((*_inside(parts), *parts.hints.put_in))
    twins = tuple(path for there, here in parts.hints.twins for path in _moved(inside, here, there))
    return inside + twins + around(parts)


def around(parts: Parts) -> tuple[str, ...]:
    """Return what one's own modules hold beside the model that says what its base is."""
    inner = frozenset([parts.hints.root, *(there for there, _ in parts.hints.twins)])
    return (
        () if "" in inner else tuple(path for path in _beside(parts, "", inner) if path not in parts.prompts)
    )


def _inside(parts: Parts) -> Iterable[str]:
    """Yield the heads that a model says it has."""
    hints, root = parts.hints, parts.hints.root
    if hints.heads is not None:
        return hints.heads
    if hints.head_only:
        found: Iterable[str] = (path for path in parts.tree.children[root] if parts.tree.below(path))
    elif parts.base and parts.base != root:
        found = _beside(parts, root, [parts.base])
    else:
        return ()
    taken = hints.base_children or ()
    return [
        path
        for path in found
        if not holds_trunk(parts, path) and path not in parts.prompts and last(path) not in taken
    ]


def _beside(parts: Parts, path: str, inner: Collection[str]) -> Iterable[str]:
    """Yield what stands below a path beside the ways to some inner ones, parameters on the way included."""
    yield from (info.name for info in parts.tree.own.get(path, ()))
    for child in parts.tree.children[path]:
        if child in inner or not parts.tree.below(child):
            continue
        if any(is_under(other, child) for other in inner):
            yield from _beside(parts, child, inner)
        else:
            yield child


def _moved(heads: Iterable[str], here: str, there: str) -> Iterable[str]:
    """Yield the heads as they are called below the other path at which a part of the model is registered."""
    for path in heads:
        if is_under(here, path):
            yield there
        elif is_under(path, here):
            yield there + path[len(here) :]


def holds_trunk(parts: Parts, path: str) -> bool:
    """Tell whether a subtree holds a main stack or the input embedding."""
    stacks = [stack.path for stack in parts.stacks if stack.main]
    return any(is_under(inner, path) for inner in (*stacks, *parts.hints.input_embeddings))


def second_models(parts: Parts) -> tuple[Doubt, ...]:
    """Return a doubt where what stands beside the model takes inputs of its own and repeats blocks: no head does."""
    beside = around(parts)
    if not beside:
        return ()
    blocks = [
        item.path
        for path, item in candidates(parts.tree, parts.hints).items()
        if item.alike and item.length > 1 and under_any(path, beside) and _is_made_of_parts(parts, item.items)
    ]
    inputs = [
        info for info in parts.tree.params if under_any(info.name, beside) and _takes_inputs(parts, info)
    ]
    if not blocks or not inputs:
        return ()
    where = parts.hints.root
    other = f"what looks like another one, with `{inputs[0].module}` and `{blocks[0]}`"
    return (unknown_parts(f"beside the model in `{where}` stands {other}", where),)


def _is_made_of_parts(parts: Parts, items: Iterable[str]) -> bool:
    return any(parts.tree.below(child) for item in items for child in parts.tree.children[item])


def _takes_inputs(parts: Parts, info: ParamInfo) -> bool:
    """Tell a table in which inputs are looked up, and a convolution over the colours of an image."""
    classes = parts.tree.classes(info.module)
    if "Embedding" in classes or "EmbeddingBag" in classes:
        return True
    return len(info.shape) == 4 and info.shape[1] == COLOURS
