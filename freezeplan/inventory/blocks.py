"""Goes from modules that repeat down to the smallest ones on the main path: from stages to their blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from freezeplan.inventory.loops import PARALLEL, SEQUENCE
from freezeplan.inventory.repeats import NUMBER, Repeats, by_home, is_numbered
from freezeplan.inventory.structure import Hints, ancestors, is_under, last, parent, smallest

# The share of a module's elements that a list inside it must hold to be what the module is made of, and
# the share from which on it may be.
MOST, SOME = 0.5, 0.25
EQUALS = "modules that are equal hold lists of modules that are equal"
AS_MANY = "what repeats holds as many modules that repeat each time, as a block does and a stage may"


@dataclass(frozen=True)
class Blocks:
    """Hold modules that repeat, in order, and the ``groups`` of them: the modules of each, and the blocks in it.

    ``beside`` names other modules of some blocks. ``unclear`` says why it is not clear whether they are the smallest
    ones; ``inner`` names what else could be. ``evidence`` says what speaks for them.
    """

    name: str
    items: tuple[str, ...]
    groups: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    unclear: str = ""
    inner: tuple[str, ...] = ()


@dataclass(frozen=True)
class Descent:
    """Go down in one tree, with what its code says about its lists."""

    repeats: Repeats
    hints: Hints

    def smallest(self, blocks: Blocks) -> Blocks:
        """Return the blocks inside, as long as what repeats is made of a list of blocks that run in sequence.

        A list inside is one of blocks when it holds most of what is around it, its items hold two matrices or more
        and repeat a kind, and they do not run side by side as experts and branches do. Modules of which two that
        follow each other are equal are blocks themselves: where one stage follows another, the shapes change.
        """
        found = self._inside(blocks)
        if not found:
            return blocks
        first, *others = found
        reason = self._doubt(blocks, first, others)
        if reason:
            return replace(blocks, unclear=reason, inner=first.items)
        if self._made_of_equals(blocks):
            return blocks
        smallest = self.smallest(first)
        groups = by_home(smallest.items, blocks.items)
        # Where groups of blocks stand in groups, the outermost are the stages.
        return replace(smallest, groups=_in_groups("", groups).groups) if len(groups) > 1 else smallest

    def _inside(self, outer: Blocks) -> list[Blocks]:
        """Return the nearest lists inside that may be of blocks, the largest first."""
        found: list[Blocks] = []
        shut: list[str] = []
        for name in self.repeats.inside.get(outer.name, ()):
            if any(is_under(name, other) for other in (*shut, *(item.name for item in found))):
                continue
            items = [path for path in self.repeats.places[name] if self.repeats.holds_modules(path)]
            groups = by_home(items, outer.items)
            order = self._order(name)
            if order == PARALLEL:
                shut.append(name)
            elif groups and self._repeats_inside(groups) and self._share(outer, items) >= SOME:
                found.append(_in_groups(name, groups))
        return sorted(found, key=lambda item: -self.repeats.numel(item.items))

    def _order(self, name: str) -> str | None:
        """Return how the items of lists run, by the code around the first that says it."""
        places = self.repeats.places[name]
        if not is_numbered(places[0]) or self.hints.loops is None:
            return None
        return next((order for path in places if (order := self.hints.loops(parent(path)))), None)

    def _repeats_inside(self, groups: dict[str, tuple[str, ...]]) -> bool:
        """Tell whether most of the items are of a kind that comes twice, somewhere twice in one list."""
        items = [path for group in groups.values() for path in group]
        often = Counter(self.repeats.kind(path) for path in items)
        again = [
            path for path in items if often[self.repeats.kind(path)] > 1 and self.repeats.is_composite(path)
        ]
        twice = Counter((parent(path), self.repeats.kind(path)) for path in again)
        most = self.repeats.numel(again) >= MOST * self.repeats.numel(items)
        return most and any(count > 1 for count in twice.values())

    def _share(self, outer: Blocks, inside: Iterable[str]) -> float:
        return self.repeats.numel(inside) / max(self.repeats.numel(outer.items), 1)

    def _doubt(self, outer: Blocks, first: Blocks, others: list[Blocks]) -> str:
        """Say why it is not clear whether the items of a list inside are the blocks."""
        equals = self._made_of_equals(outer)
        if equals and not (self._is_list(first) and self._made_of_equals(first)):
            return ""
        if equals:
            return EQUALS
        if others:
            return "what repeats is made of several lists of modules that repeat"
        if self._share(outer, first.items) < MOST:
            return "what repeats is made of a list of modules that repeat, and of as much beside it"
        if self._leaves_out(outer, first):
            return "some of what repeats holds modules that repeat, and some holds others"
        if not is_numbered(first.items[0]):
            return AS_MANY if self._as_many(first) else ""
        if self._order(first.name) is None and self.hints.loops is not None:
            return "no code says whether the modules inside what repeats run one after the other"
        return ""

    def _leaves_out(self, outer: Blocks, first: Blocks) -> bool:
        """Tell whether a module without any of the blocks stands among those with some, or holds others of its own."""
        holding = {path for modules, _ in first.groups for path in modules}
        places = [at for at, path in enumerate(outer.items) if path in holding]
        left = [
            at
            for at, path in enumerate(outer.items)
            if path not in holding and self.repeats.is_composite(path)
        ]
        others = any(places[0] < at < places[-1] or self._holds_blocks(outer, outer.items[at]) for at in left)
        return others or self._passes_others(outer, first)

    def _passes_others(self, outer: Blocks, first: Blocks) -> bool:
        """Tell whether modules of one kind repeat between the two, beside what holds the blocks."""
        holding = {up for path in first.items for up in ancestors(path)}
        between = [
            name for name in self.repeats.inside.get(outer.name, ()) if first.name.startswith(f"{name}.")
        ]
        beside = (path for name in between for path in self.repeats.places[name] if path not in holding)
        often = Counter(self.repeats.kind(path) for path in beside if self.repeats.is_composite(path))
        return any(count > 1 for count in often.values())

    def _holds_blocks(self, outer: Blocks, path: str) -> bool:
        names = self.repeats.inside.get(outer.name, ())
        inside = [item for name in names for item in self.repeats.places[name] if is_under(item, path)]
        return self._repeats_inside({path: tuple(inside)}) if inside else False

    def _is_list(self, blocks: Blocks) -> bool:
        return is_numbered(blocks.items[0]) and self._order(blocks.name) == SEQUENCE

    def _made_of_equals(self, blocks: Blocks) -> bool:
        return self.repeats.any_neighbours_equal(blocks.items)

    def _as_many(self, first: Blocks) -> bool:
        """Tell whether each module around holds the same number of them, as a block does of its parts."""
        return len({len(group) for _, group in first.groups}) == 1


def _in_groups(name: str, groups: Mapping[str, tuple[str, ...]]) -> Blocks:
    items = tuple(path for group in groups.values() for path in group)
    return Blocks(name, items, tuple(((path,), group) for path, group in groups.items()))


def in_lists(blocks: Blocks) -> Blocks:
    """Return blocks without groups in groups by the lists that hold them, where most of these are numbered."""
    homes = {item: parent(item) for item in blocks.items}
    lists = list(dict.fromkeys(homes.values()))
    numbered = [path for path in lists if NUMBER.search(last(path))]
    apart = smallest(lists) == tuple(lists)
    if blocks.groups or blocks.unclear or not 1 < len(lists) < len(homes) or not apart:
        return blocks
    groups = {home: tuple(item for item in blocks.items if homes[item] == home) for home in lists}
    found = _in_groups(blocks.name, groups)
    kept = len(numbered) * 2 > len(lists) and found.items == blocks.items
    return replace(blocks, groups=found.groups) if kept else blocks
