"""Finds the layers where nothing but repetition speaks for any: the smallest repeated blocks of the main path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from freezeplan.inventory.assembled import path_of
from freezeplan.inventory.blocks import Blocks, Descent, in_lists
from freezeplan.inventory.candidates import numbered_children
from freezeplan.inventory.repeats import Repeats, is_numbered
from freezeplan.inventory.structure import is_under, parent, under_any

SEVERAL = "several lists repeat a module, and nothing says which are the layers"
SIBLINGS = "lists of modules of one kind stand beside each other, and nothing says whether all are layers"

# How many modules called by a name and a number must repeat to be layers: two are as often two parts of something.
FEWEST_NAMED = 3


def find_blocks(descent: Descent, taken: Sequence[str] = ()) -> list[Blocks]:
    """Return the smallest repeated blocks inside each outermost module that repeats, in registration order.

    What lies in a path of ``taken``, or holds one, is left out.
    """
    repeats = descent.repeats
    found: dict[str, Blocks] = {}
    for name in sorted(repeats.places, key=lambda name: name.count(".")):
        if any(is_under(name, other) for other in found):
            continue
        places = [path for path in repeats.places[name] if repeats.numel([path]) and not _meets(path, taken)]
        blocks = _of(descent, name, places)
        if blocks:
            found[name] = blocks
    return sorted(found.values(), key=lambda blocks: repeats.order[blocks.items[0]])


def _meets(path: str, taken: Sequence[str]) -> bool:
    return under_any(path, taken) or any(is_under(other, path) for other in taken)


def _of(descent: Descent, name: str, places: list[str]) -> Blocks | None:
    """Return the blocks in modules that repeat, None when they are no blocks and hold none."""
    found = descent.smallest(Blocks(name, tuple(places)))
    if found.name != name:
        return found
    kept = _repeated(descent.repeats, places)
    return in_lists(replace(found, items=kept)) if kept else None


def _repeated(repeats: Repeats, places: Sequence[str]) -> tuple[str, ...]:
    """Return the layers in a list: all items of one that is alike, else the composite ones whose kind repeats.

    What stands before the first and after the last of these is no layer; what stands between them is one when it
    is composite.
    """
    whole = [path for path in dict.fromkeys(map(parent, places)) if _is_alike(repeats, path)]
    if whole and len(whole) == len(set(map(parent, places))):
        return tuple(places) if len(places) > 1 else ()
    composite = [path for path in places if repeats.is_composite(path)]
    if places and not is_numbered(places[0]) and len(composite) < FEWEST_NAMED:
        return ()
    often = Counter(repeats.kind(path) for path in composite)
    again = [at for at, path in enumerate(composite) if often[repeats.kind(path)] > 1]
    if not again or repeats.numel(composite[at] for at in again) * 2 < repeats.numel(places):
        return ()
    return tuple(composite[again[0] : again[-1] + 1])


def _is_alike(repeats: Repeats, path: str) -> bool:
    """Tell whether a module is a list, numbered without a gap, of modules of one kind."""
    items = numbered_children(repeats.tree, path)
    if not items:
        return False
    if not repeats.tree.classes(items[0]):
        return bool(frozenset.intersection(*(frozenset(repeats.kind(item)) for item in items)))
    return len({repeats.kind(item) for item in items}) == 1


def main_blocks(repeats: Repeats, found: Sequence[Blocks]) -> list[Blocks]:
    """Return the largest blocks, and all that are at least half as large."""
    most = max((repeats.numel(blocks.items) for blocks in found), default=0)
    return [blocks for blocks in found if repeats.numel(blocks.items) * 2 > most]


def doubt_between(
    repeats: Repeats, main: Sequence[Blocks], found: Sequence[Blocks]
) -> tuple[str, list[Blocks]]:
    """Return why a choice for which nothing speaks but size is doubtful, empty when it is not, and between what."""
    if not main:
        return "", []
    if unclear := [blocks for blocks in main if blocks.unclear]:
        return unclear[0].unclear, unclear[:1]
    most = max(repeats.numel(blocks.items) for blocks in main)
    composite = any(repeats.is_composite(path) for blocks in main for path in blocks.items)
    equal = [blocks for blocks in found if not composite or _any_composite(repeats, blocks)]
    rivals = [blocks for blocks in equal if blocks in main or repeats.numel(blocks.items) * 10 > most]
    kinds = {repeats.kind(path) for blocks in main for path in blocks.items}
    siblings = [blocks for blocks in equal if kinds & {repeats.kind(path) for path in blocks.items}]
    paths = Counter(path_of(blocks) for blocks in main)
    loose = len(main) > 1 and not composite
    if len(rivals) > len(main) or _unlike(repeats, main) or max(paths.values()) > 1 or loose:
        return SEVERAL, rivals
    if len(siblings) > len(main) and composite:
        return SIBLINGS, siblings
    return "", []


def _any_composite(repeats: Repeats, blocks: Blocks) -> bool:
    return any(repeats.is_composite(path) for path in blocks.items)


def _unlike(repeats: Repeats, main: Sequence[Blocks]) -> bool:
    kinds = [{repeats.kind(path) for path in blocks.items} for blocks in main]
    return any(not one & two for one in kinds for two in kinds)
