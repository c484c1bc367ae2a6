"""Takes the layers and stages from how a model groups its own parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from freezeplan.inventory.blocks import EQUALS, Blocks, Descent, in_lists
from freezeplan.inventory.parts import is_norm_only
from freezeplan.inventory.repeats import NUMBER, Repeats, is_numbered, template
from freezeplan.inventory.structure import OwnGroups, cover, is_under, last, parent, under_any

BY_ITSELF = "the model's own group_matcher tells them apart"


def blocks_of(descent: Descent, told: OwnGroups) -> Blocks | None:
    """Return the blocks that a model's own groups are of, None when they are of no modules that repeat.

    A group's block is the numbered module in it; where there are several, that of the kind of place that most groups
    have. Blocks that the model does not group more coarsely may be stages: then the smallest repeated modules inside
    are the blocks.
    """
    repeats = descent.repeats
    covers = [_modules(repeats, group) for group in told.fine]
    found = [(item, paths) for item, paths in zip(_blocks(repeats, covers), covers, strict=True) if item]
    chosen = [item for item, _ in found]
    if len(chosen) < 2 or any(is_under(one, two) for one in chosen for two in chosen if one != two):
        return None
    name = _usual(Counter(map(template, chosen)))
    beside = {
        item: _beside(repeats, item, paths)
        for item, paths in zip(_blocks(repeats, covers), covers, strict=True)
        if item
    }
    blocks = Blocks(name, tuple(chosen), beside=beside, evidence=(BY_ITSELF,))
    stages = _stages(repeats, told.coarse, chosen)
    if 1 < len(stages) < len(chosen):
        return replace(blocks, groups=stages)
    if any(template(item) != name for item in chosen):
        return in_lists(blocks)
    found = descent.smallest(blocks)
    # Stages are not equal: of modules that are, the model's own word for blocks holds.
    return in_lists(blocks if found.unclear == EQUALS else found)


def _modules(repeats: Repeats, group: Sequence[str]) -> tuple[str, ...]:
    """Return the fewest modules that make up a group, without its norms and single parameters."""
    paths = cover(repeats.tree, group)
    return tuple(
        path for path in paths if path in repeats.tree.by_path and not is_norm_only(repeats.tree, path)
    )


def _blocks(repeats: Repeats, covers: Sequence[tuple[str, ...]]) -> list[str | None]:
    numbered = [{template(path) for path in paths if NUMBER.search(last(path))} for paths in covers]
    often = Counter(name for names in numbered for name in names)
    usual = _usual(often)
    return [_block(repeats, paths, usual, often) for paths in covers]


def _usual(often: Counter[str]) -> str:
    """Return the template that most paths have, the deepest of equally many."""
    return max(often, key=lambda name: (often[name], name.count(".")), default="")


def _block(repeats: Repeats, paths: tuple[str, ...], usual: str, often: Counter[str]) -> str | None:
    """Return the block among the modules of a group: in the usual place, else the one that makes up the group.

    Where several could, it is the one that stands where blocks of other groups do; there is none where none does.
    """
    inside = [path for path in repeats.places.get(usual, ()) if under_any(path, paths)]
    if len(inside) == 1:
        return inside[0]
    numbered = [path for path in paths if NUMBER.search(last(path)) and repeats.is_composite(path)]
    if repeats.numel(numbered) * 2 <= repeats.numel(paths):
        return None
    largest = max(numbered, key=lambda path: (often[template(path)], repeats.numel([path])))
    return largest if len(numbered) == 1 or often[template(largest)] > 1 else None


def _beside(repeats: Repeats, item: str, paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if not is_under(item, path) and repeats.is_composite(path))


def _stages(
    repeats: Repeats, coarse: Iterable[Sequence[str]], items: Sequence[str]
) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Return the modules of each coarse group that holds blocks, and these blocks; none where their order differs."""
    found = []
    for group in coarse:
        names = set(group)
        inside = tuple(item for item in items if any(info.name in names for info in repeats.tree.below(item)))
        if inside:
            found.append((_of_stage(repeats, group, inside), inside))
    ordered = [item for _, inside in found for item in inside]
    return tuple(found) if ordered == list(items) else ()


def _of_stage(repeats: Repeats, group: Sequence[str], items: tuple[str, ...]) -> tuple[str, ...]:
    """Return the modules of a stage: those that hold its blocks, and what stands beside them or at their number."""
    paths = _modules(repeats, group)
    around = [path for path in paths if any(is_under(item, path) for item in items)]
    homes, numbers = {parent(path) for path in around}, {last(path) for path in around if is_numbered(path)}
    more = [path for path in paths if path not in around and (parent(path) in homes or last(path) in numbers)]
    return (*around, *more) if around else items
