"""Makes a stack of blocks that were found: its stages, and what stands between them."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from freezeplan.inventory.at_numbers import at_numbers
from freezeplan.inventory.blocks import Blocks
from freezeplan.inventory.records import Stack
from freezeplan.inventory.repeats import common
from freezeplan.inventory.structure import Tree, ancestors, parent


def path_of(blocks: Blocks) -> str:
    """Return the path of a stack of these blocks: what holds all of its stages, or all of its blocks."""
    return common([path for unit in units_of(blocks) for path in unit])


def units_of(blocks: Blocks) -> tuple[tuple[str, ...], ...]:
    """Return the modules of what stands side by side in a stack: of each stage, or of each block."""
    if len(blocks.groups) > 1:
        return tuple(modules for modules, _ in blocks.groups)
    return tuple((item, *blocks.beside.get(item, ())) for item in blocks.items)


def stack_of(tree: Tree, blocks: Blocks) -> Stack:
    """Return the main stack of some blocks.

    A module between two stages belongs to the one that it leads into; where there are no stages, to the layer.
    """
    path, units = path_of(blocks), _with_between(tree, path_of(blocks), units_of(blocks))
    homes = list(dict.fromkeys(map(parent, blocks.items)))
    said = f"{len(blocks.items)} repeated modules in {', '.join(home or 'the root' for home in homes)}"
    if len(blocks.groups) > 1:
        words = f"blocks of {len(units)} stages in order"
        sizes = tuple(len(items) for _, items in blocks.groups)
        return Stack(path, blocks.items, (said, words, *blocks.evidence), stages=units, stage_sizes=sizes)
    beside = tuple(modules[1:] for modules in units)
    return Stack(path, blocks.items, (said, *blocks.evidence), companions=beside if any(beside) else ())


def _with_between(tree: Tree, root: str, units: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return the modules of each unit, and those that go with it.

    What stands at a unit's number among siblings goes with that unit, any other module that is registered between two
    units with the second of them.
    """
    found = [list(modules) for modules in units]
    place = {path: at for at, modules in reversed(list(enumerate(units))) for path in modules}
    numbered = {path: at for path, at in at_numbers(tree, root, units).items() if path not in place}
    for path, at in numbered.items():
        found[at].append(path)
    stops = place.keys() | numbered.keys()
    holding = {up for path in stops for up in ancestors(path)}
    waiting: list[str] | None = None
    for path in _downwards(tree, root, stops, holding):
        if path in place:
            found[place[path]] += waiting or ()
            waiting = []
        elif waiting is not None and path not in numbered:
            waiting.append(path)
    return tuple(map(tuple, found))


def _downwards(tree: Tree, path: str, units: Container[str], holding: Container[str]) -> Iterator[str]:
    """Yield the units below a module, and the largest modules without any, in registration order."""
    for child in tree.children[path]:
        if child in units or child not in holding:
            if tree.below(child):
                yield child
        else:
            yield from _downwards(tree, child, units, holding)
