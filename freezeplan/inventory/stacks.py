"""Finds the stacks of layers in a tree of modules: repetition first, then what confirms it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from freezeplan.inventory.records import Stack
from freezeplan.inventory.structure import Hints, Tower, Tree, ancestors, is_under, join_index, last, parent

LAYER_BASE = "GradientCheckpointingLayer"
LAYER_COUNT = "num_hidden_layers"
PLAIN = Tower("")


@dataclass(frozen=True)
class Candidate:
    """Hold a module with alike, consecutively numbered children, and what speaks for each being a layer."""

    path: str
    items: tuple[str, ...]
    tower: Tower
    numel: int
    evidence: tuple[tuple[int, str], ...] = ()

    @property
    def score(self) -> int:
        """Weight of the evidence beside repetition."""
        return sum(weight for weight, _ in self.evidence)


def find_stacks(tree: Tree, hints: Hints) -> tuple[Stack, ...]:
    """Return every outermost stack in registration order; ``main`` ones are the model's layers.

    A candidate is a module with children numbered from 0 that are alike in class. What confirms it:
    its items derive from transformers' layer base class, are of a class that the model never splits or
    records hidden states of, or are as many as the nearest config counts. Within one tower the best
    confirmed candidate is main; where none is confirmed (plain torch modules), the largest. Equally good
    candidates are all main: choosing between them is left to the spec.
    """
    candidates = [item for path in tree.children if (item := _candidate(tree, hints, path))]
    stages = [found for item in candidates if (found := _staged(item, candidates))]
    outermost = _outermost(stages + _not_in_stages(candidates, stages))
    main = _main(outermost)
    return tuple(_stack(item, item in main) for item in outermost)


def _candidate(tree: Tree, hints: Hints, path: str) -> Candidate | None:
    items = numbered_children(tree, path)
    if not items or not _alike(tree, items):
        return None
    tower = _owner(hints, path)
    evidence = _evidence(tree, tower, items)
    if len(items) < 2 and not evidence:
        return None
    numel = sum(info.numel for item in items for info in tree.below(item))
    return Candidate(path, items, tower, numel, evidence) if numel else None


def numbered_children(tree: Tree, path: str) -> tuple[str, ...]:
    """Return the children named 0, 1, 2 … of a module; empty when numbers are missing."""
    numbered = {int(last(child)): child for child in tree.children[path] if last(child).isdecimal()}
    items = tuple(numbered[index] for index in sorted(numbered))
    return items if items == tuple(join_index(path, index) for index in range(len(items))) else ()


def _alike(tree: Tree, items: tuple[str, ...]) -> bool:
    if all(LAYER_BASE in tree.classes(item) for item in items):
        return True
    if not tree.classes(items[0]):
        return len({_child_names(tree, item) for item in items}) == 1 and bool(tree.children[items[0]])
    return len({tree.classes(item)[0] for item in items}) == 1


def _child_names(tree: Tree, item: str) -> frozenset[str]:
    return frozenset(last(child) for child in tree.children[item])


def _owner(hints: Hints, path: str) -> Tower:
    towers = [tower for tower in hints.towers if is_under(path, tower.path)]
    return max(towers, key=lambda tower: len(tower.path), default=PLAIN)


def _evidence(tree: Tree, tower: Tower, items: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    classes = [set(tree.classes(item)) for item in items]
    names = " or ".join(dict.fromkeys(tree.classes(item)[0] for item in items if tree.classes(item)))
    found = []
    if all(LAYER_BASE in item for item in classes):
        found.append((2, f"{names} is a {LAYER_BASE}"))
    if all(item & tower.recorded for item in classes):
        found.append((2, f"the model records hidden states of {names}"))
    if all(item & tower.unsplit for item in classes):
        found.append((1, f"the model never splits {names}"))
    found += _counted(tower, len(items))
    return tuple(found)


def _counted(tower: Tower, length: int) -> list[tuple[int, str]]:
    names = [name for name, count in tower.counts.items() if count == length]
    if LAYER_COUNT in names:
        return [(3, f"{LAYER_COUNT} = {length}")]
    return [(1, f"{names[0]} = {length}")] if names else []


def _staged(outer: Candidate, candidates: list[Candidate]) -> Candidate | None:
    """Return the blocks of a list of stages as one candidate, when the config counts blocks per stage."""
    for name, count in outer.tower.counts.items():
        if not isinstance(count, tuple) or len(count) != len(outer.items):
            continue
        lists = [_inner(stage, length, candidates) for stage, length in zip(outer.items, count, strict=True)]
        if all(lists):
            blocks = tuple(block for inner in lists if inner for block in inner)
            evidence = ((4, f"{name} = {list(count)}, blocks of {len(count)} stages in order"),)
            return Candidate(outer.path, blocks, outer.tower, outer.numel, evidence)
    return None


def _inner(stage: str, length: int, candidates: list[Candidate]) -> tuple[str, ...]:
    inside = [item for item in candidates if is_under(item.path, stage)]
    fitting = [item.items for item in inside if len(item.items) == length]
    return fitting[0] if fitting else ()


def _not_in_stages(candidates: list[Candidate], stages: list[Candidate]) -> list[Candidate]:
    roots = {stage.path for stage in stages}
    return [item for item in candidates if not roots.intersection(ancestors(item.path))]


def _outermost(candidates: list[Candidate]) -> list[Candidate]:
    items = {item for candidate in candidates for item in candidate.items}
    return [item for item in candidates if not items.intersection(ancestors(item.path))]


def _main(candidates: list[Candidate]) -> list[Candidate]:
    confirmed = [item for item in candidates if item.score >= 2]
    if confirmed:
        best = {item.tower.path: max(_scores(confirmed, item.tower)) for item in confirmed}
        return [item for item in confirmed if item.score == best[item.tower.path]]
    most = max((item.numel for item in candidates), default=0)
    return [item for item in candidates if item.numel * 2 > most]


def _scores(candidates: Iterable[Candidate], tower: Tower) -> list[int]:
    return [item.score for item in candidates if item.tower.path == tower.path]


def _stack(item: Candidate, main: bool) -> Stack:
    folders = list(dict.fromkeys(parent(path) or "the root" for path in item.items))
    repeated = f"{len(item.items)} numbered modules in {', '.join(folders)}"
    return Stack(item.path, item.items, (repeated, *(text for _, text in item.evidence)), main)
