"""Finds what stands beside stages at their numbers: `norm1` beside `block1`, `downsample.1` beside `stages.1`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freezeplan.inventory.candidates import numbered_children
from freezeplan.inventory.parts import is_embedding
from freezeplan.inventory.repeats import NUMBER, is_numbered, template
from freezeplan.inventory.structure import Tree, last, parent


def at_numbers(tree: Tree, root: str, units: Sequence[tuple[str, ...]]) -> dict[str, int]:
    """Return the modules that go with units by their number, each with its unit's place.

    Of siblings of the units that are called by the same numbers, these are the ones that embed and the ones that are
    registered between two units; of lists as long as that of the units, the ones before it.
    """
    first = [modules[0] for modules in units]
    if len(units) < 2 or any(parent(path) != root for path in first):
        return {}
    if all(map(is_numbered, first)):
        return dict(_in_lists_before(tree, root, len(units)))
    return dict(_among_siblings(tree, root, first))


def _in_lists_before(tree: Tree, root: str, count: int) -> Iterator[tuple[str, int]]:
    for child in tree.children[parent(root)] if root else ():
        if child == root:
            return
        # A Sequential runs as a whole, so that its numbers are those of its own steps.
        items = () if "Sequential" in tree.classes(child) else numbered_children(tree, child)
        if len(items) == count == len(numbered_children(tree, root)):
            yield from ((path, at) for at, path in enumerate(items))


def _among_siblings(tree: Tree, root: str, first: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the siblings whose names differ in nothing but the units' numbers."""
    numbers = [NUMBER.findall(last(path)) for path in first]
    children = tree.children[root]
    places = {path: at for at, path in enumerate(children)}
    names = dict.fromkeys(template(path) for path in children if path not in first and tree.below(path))
    for name in names if all(numbers) else ():
        family = [path for path in children if template(path) == name]
        if [NUMBER.findall(last(path)) for path in family] != numbers:
            continue
        for at, path in enumerate(family):
            if is_embedding(tree, path) or places[first[0]] < places[path] < places[first[-1]]:
                yield path, at
