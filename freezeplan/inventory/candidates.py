"""Lists of numbered modules, and what speaks for each that its items are the layers of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from freezeplan.inventory.structure import Hints, Tower, Tree, ancestors, as_index, is_under, join_index, last

LAYER_BASE = "GradientCheckpointingLayer"
LAYER_COUNT = "num_hidden_layers"
PLAIN = Tower("")


@dataclass(frozen=True)
class Candidate:
    """Hold a list of numbered modules and the evidence for it.

    ``alike`` tells whether its items are of one kind, ``marks`` how strongly the library that made the
    model marks them as layers, ``counts`` the attributes of the nearest config that have its length.
    ``base``: its items derive from transformers' layer base class. ``norms``: they are norms.
    """

    path: str
    items: tuple[str, ...]
    tower: Tower
    numel: int
    alike: bool = True
    marks: int = 0
    counts: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    base: bool = False
    norms: bool = False

    @property
    def score(self) -> int:
        """Weight of the evidence beside repetition."""
        return self.marks + (3 if LAYER_COUNT in self.counts else min(len(self.counts), 1))

    @property
    def length(self) -> int:
        """Number of items."""
        return len(self.items)


def candidates(tree: Tree, hints: Hints) -> dict[str, Candidate]:
    """Return every list of numbered modules with parameters, by path, in registration order."""
    found = (_candidate(tree, hints, path) for path in tree.children)
    return {item.path: item for item in found if item}


def _candidate(tree: Tree, hints: Hints, path: str) -> Candidate | None:
    items = numbered_children(tree, path)
    numel = _own_elements(tree, path, items)
    if not numel:
        return None
    tower = _owner(hints, path)
    marks = _marks(tree, tower, items)
    counts = tuple(name for name, count in tower.counts.items() if count == len(items))
    counts = (LAYER_COUNT,) if LAYER_COUNT in counts else counts[:1]
    texts = [text for _, text in marks] + [f"{name} = {len(items)}" for name in counts]
    weight = sum(weight for weight, _ in marks)
    base = all(LAYER_BASE in tree.classes(item) for item in items)
    norms = all(_is_norm(tree, item) for item in items)
    return Candidate(
        path, items, tower, numel, _alike(tree, items), weight, counts, tuple(texts), base, norms
    )


def _is_norm(tree: Tree, path: str) -> bool:
    vectors = all(len(info.shape) < 2 for info in tree.below(path))
    return vectors and any("norm" in name.lower() for name in tree.classes(path))


def _own_elements(tree: Tree, path: str, items: tuple[str, ...]) -> int:
    """Count the elements of a list, apart from tensors that are tied to one outside of it."""
    infos = [info for item in items for info in tree.below(item)]
    return sum(info.numel for info in infos if info.alias_of is None or is_under(info.alias_of, path))


def numbered_children(tree: Tree, path: str) -> tuple[str, ...]:
    """Return the children named 0, 1, 2 … of a module; empty when numbers are missing."""
    named = [(as_index(last(child)), child) for child in tree.children[path]]
    numbered = {index: child for index, child in named if index is not None}
    items = tuple(numbered[index] for index in sorted(numbered))
    return items if items == tuple(join_index(path, index) for index in range(len(items))) else ()


def _alike(tree: Tree, items: tuple[str, ...]) -> bool:
    if all(LAYER_BASE in tree.classes(item) for item in items):
        return True
    if not tree.classes(items[0]):
        # Layers of a hybrid model differ in what they hold, but not in all of it.
        return bool(frozenset.intersection(*(_child_names(tree, item) for item in items)))
    return len({tree.classes(item)[0] for item in items}) == 1


def _child_names(tree: Tree, item: str) -> frozenset[str]:
    return frozenset(last(child) for child in tree.children[item])


def _owner(hints: Hints, path: str) -> Tower:
    towers = [tower for tower in hints.towers if is_under(path, tower.path)]
    return max(towers, key=lambda tower: len(tower.path), default=PLAIN)


def _marks(tree: Tree, tower: Tower, items: tuple[str, ...]) -> list[tuple[int, str]]:
    classes = [set(tree.classes(item)) for item in items]
    names = " or ".join(dict.fromkeys(tree.classes(item)[0] for item in items if tree.classes(item)))
    found = []
    if all(LAYER_BASE in item for item in classes):
        found.append((2, f"{names} is a {LAYER_BASE}"))
    if all(item & tower.recorded for item in classes):
        found.append((2, f"the model records hidden states of {names}"))
    if all(item & tower.unsplit for item in classes):
        found.append((1, f"the model never splits {names}"))
    return found


def outermost(found: Iterable[Candidate]) -> list[Candidate]:
    """Drop the candidates that lie inside an item of another one."""
    found = list(found)
    items = {item for candidate in found for item in candidate.items}
    return [candidate for candidate in found if items.isdisjoint(ancestors(candidate.path))]


def apart(candidate: Candidate, others: Iterable[str]) -> bool:
    """Tell whether a candidate neither lies in, nor holds, any of these paths."""
    return not any(is_under(candidate.path, other) or is_under(other, candidate.path) for other in others)
