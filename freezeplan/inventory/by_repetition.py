"""Chooses the stacks of models of which no library says what a layer is: by their own groups, or by repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from freezeplan.inventory.assembled import path_of, stack_of
from freezeplan.inventory.blocks import Blocks, Descent
from freezeplan.inventory.by_groups import blocks_of
from freezeplan.inventory.main_path import doubt_between, find_blocks, main_blocks
from freezeplan.inventory.parts import is_embedding
from freezeplan.inventory.records import Doubt, Stack
from freezeplan.inventory.repeats import Repeats
from freezeplan.inventory.structure import Hints, Tree, ancestors, as_index, join_index, last, parent

# What a role must not mean while it is open which modules are the layers.
UNSURE = ("layers", "stages", "final_norm")


def stacks_by_repetition(tree: Tree, hints: Hints) -> tuple[tuple[Stack, ...], tuple[Doubt, ...]]:
    """Return the main stacks of a model in registration order, and what is not clear about them.

    What a model says itself about the groups of its parameters comes first; in what it leaves open, and in
    models that say nothing, the largest of the smallest repeated blocks are main.
    """
    descent = Descent(Repeats(tree), hints)
    said = {item.path: blocks for item in hints.own_groups if (blocks := blocks_of(descent, item))}
    found = _outside_embeddings(tree, find_blocks(descent, tuple(said)))
    main = list(said.values()) or main_blocks(descent.repeats, found)
    reason, rivals = doubt_between(descent.repeats, main, [*said.values(), *found])
    doubts = (_doubt(rivals, reason),) if reason else ()
    by_path = {path_of(blocks): blocks for blocks in reversed(main)}
    ordered = sorted(by_path.values(), key=lambda blocks: descent.repeats.order[blocks.items[0]])
    return tuple(_with_ties(tree, stack_of(tree, blocks)) for blocks in ordered), doubts


def _outside_embeddings(tree: Tree, found: list[Blocks]) -> list[Blocks]:
    kept = [blocks for blocks in found if not _embeds(tree, path_of(blocks))]
    return kept or found


def _embeds(tree: Tree, path: str) -> bool:
    return any(is_embedding(tree, up) for up in ancestors(path))


def _doubt(rivals: Sequence[Blocks], reason: str) -> Doubt:
    options = [option for blocks in rivals for option in _options(blocks)]
    longest = max(rivals, key=lambda blocks: len(blocks.items))
    advice = f"write the paths, such as `{as_pattern(longest.items)}`"
    return Doubt(UNSURE, "", reason, tuple(options), advice)


def as_pattern(paths: Sequence[str]) -> str:
    """Return a pattern for numbered siblings that follow each other, or else the path of the first.

    >>> as_pattern(["net.1", "net.2", "net.3"]), as_pattern(["layer1.0", "layer1.1", "layer2.0"])
    ('net.{1..3}', 'layer1.0')
    """
    first = as_index(last(paths[0]))
    home = parent(paths[0])
    if first is None or any(path != join_index(home, first + at) for at, path in enumerate(paths)):
        return paths[0]
    return join_index(home, 0)[:-1] + f"{{{first}..{first + len(paths) - 1}}}"


def _options(blocks: Blocks) -> list[tuple[str, int, tuple[str, ...]]]:
    found = [(path_of(blocks), len(blocks.items), blocks.evidence)]
    if blocks.inner:
        home = parent(blocks.inner[0])
        found.append((home, sum(parent(path) == home for path in blocks.inner), ()))
    return found


def _with_ties(tree: Tree, stack: Stack) -> Stack:
    reason = tied_layers(tree, stack)
    return replace(stack, shared=reason) if reason else stack


def tied_layers(tree: Tree, stack: Stack) -> str | None:
    """Say which layers of a stack share a tensor, None when none do."""
    place = {path: index for index, paths in enumerate(stack.spans) for path in paths}
    for info in tree.params:
        if info.alias_of is not None:
            here, there = _layer(info.name, place), _layer(info.alias_of, place)
            if here is not None and there is not None and here != there:
                return f"layers {there} and {here} share `{info.alias_of}`"
    return None


def _layer(name: str, place: dict[str, int]) -> int | None:
    return next((place[path] for path in ancestors(parent(name)) if path in place), None)
