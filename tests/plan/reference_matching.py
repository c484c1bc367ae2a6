"""The meaning of a pattern, slowly and by other means: text substitution, regular expressions, path sets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from freezeplan.inventory.records import Inventory
from tests.strategies import is_below


@dataclass(frozen=True)
class Meaning:
    """The names a pattern selects, and whether some part of it hits nothing, or (``fatal``) is ambiguous."""

    names: frozenset[str]
    missed: bool
    fatal: bool = False


class Nothing(Exception):
    """A branch hits nothing; ``fatal`` where no other branch can make up for it."""

    def __init__(self, fatal: bool = False) -> None:
        self.fatal = fatal
        super().__init__()


def meaning(inventory: Inventory, pattern: str) -> Meaning:
    """Return what a pattern means on a model."""
    if pattern.startswith("class:"):
        wanted = pattern.removeprefix("class:")
        names = _below(inventory, {m.path for m in inventory.modules if wanted in m.classes})
        return Meaning(names, not names)
    names: set[str] = set()
    chosen_in_hits: set[tuple[int, int]] = set()
    chosen: set[tuple[int, int]] = set()
    fatal, hits = False, 0
    for form, choices in forms(pattern):
        chosen |= choices
        try:
            names |= _branch(inventory, form)
        except Nothing as problem:
            fatal = fatal or problem.fatal
            continue
        chosen_in_hits |= choices
        hits += 1
    return Meaning(frozenset(names), fatal or not hits or chosen != chosen_in_hits, fatal)


def forms(pattern: str, number: int = 0) -> list[tuple[str, frozenset[tuple[int, int]]]]:
    """Expand braces by substituting the first one's alternatives into the text, again and again."""
    start = pattern.find("{")
    if start < 0:
        return [(pattern, frozenset())]
    end = pattern.index("}")
    options: list[str] = []
    for option in pattern[start + 1 : end].split(","):
        low, dots, high = option.partition("..")
        options += [str(n) for n in range(int(low), int(high) + 1)] if dots else [option]
    return [
        (form, rest | {(number, place)})
        for place, option in enumerate(options)
        for form, rest in forms(pattern[:start] + option + pattern[end + 1 :], number + 1)
    ]


def _branch(inventory: Inventory, form: str) -> frozenset[str]:
    segments = re.split(r"\.(?![^\[]*\])", form)
    nodes = _anchored(inventory, segments)
    names = _below(inventory, nodes)
    if not names:
        raise Nothing
    return names


def _anchored(inventory: Inventory, segments: list[str]) -> set[str]:
    at_root = _tried(inventory, {""}, segments)
    if isinstance(at_root, set) and at_root and segments[0] in ("*", "**"):
        return at_root
    at_base = (
        _tried(inventory, {inventory.base}, segments)
        if inventory.base and segments[0][0] != "@"
        else Nothing()
    )
    if isinstance(at_root, set) and isinstance(at_base, set) and at_root != at_base:
        raise Nothing(fatal=True)
    for found in (at_root, at_base):
        if isinstance(found, set):
            return found
    return _by_tower(inventory, segments, at_root, at_base)


def _by_tower(inventory: Inventory, segments: list[str], *failed: Nothing | set[str]) -> set[str]:
    """Read what stands before the first role as the end of a path."""
    split = next((i for i, segment in enumerate(segments) if segment[0] == "@"), 0)
    end = ".".join(segments[:split])
    towers = [path for path in all_paths(inventory) if split and (path == end or path.endswith("." + end))]
    towers = [path for path in towers if not any(is_below(path, other) and path != other for other in towers)]
    tried = [_tried(inventory, {tower}, segments[split:]) for tower in towers]
    hits = [found for found in tried if isinstance(found, set)]
    if len(hits) == 1:
        return hits[0]
    outcomes = [*tried, *(() if tried else failed)]
    raise Nothing(fatal=len(hits) > 1 or any(isinstance(item, Nothing) and item.fatal for item in outcomes))


def _tried(inventory: Inventory, start: set[str], segments: list[str]) -> set[str] | Nothing:
    try:
        return _walk(inventory, start, segments)
    except Nothing as problem:
        return problem


def _walk(inventory: Inventory, nodes: set[str], segments: list[str]) -> set[str]:
    run: list[str] = []
    for segment in segments:
        if segment[0] == "@":
            nodes = _role(inventory, _glob(inventory, nodes, run), segment)
            run = []
        else:
            run.append(segment)
    return _glob(inventory, nodes, run)


def all_paths(inventory: Inventory) -> list[str]:
    """Return the paths of all modules and parameters."""
    return list(dict.fromkeys([m.path for m in inventory.modules] + [p.name for p in inventory.params]))


def _glob(inventory: Inventory, nodes: set[str], run: list[str]) -> set[str]:
    """Match the whole run of segments at once, as one regular expression over what follows each node."""
    while run and run[-1] == "**":
        run = run[:-1]
    if not run:
        return nodes
    text = "".join(r"(?:\.[^.]+)*" if part == "**" else r"\." + _one(part) for part in run)
    expression = re.compile(text)
    relative = ((path, node) for path in all_paths(inventory) for node in nodes if is_below(path, node))
    found = {path for path, node in relative if expression.fullmatch(_from(node, path))}
    if not found:
        raise Nothing
    return found


def _from(node: str, path: str) -> str:
    """Return what follows a node in a path, with the dot before it."""
    return path[len(node) :] if node or not path else "." + path


def _one(part: str) -> str:
    return "[^.]*".join(re.escape(text) for text in part.split("*"))


def _role(inventory: Inventory, nodes: set[str], segment: str) -> set[str]:
    name, _, cut = segment[1:].partition("[")
    if name == "layers":
        return _layers(inventory, nodes, cut.rstrip("]"))
    role = set(inventory.role_nodes.get(name, ()))
    both = {path for path in role if any(is_below(path, node) for node in nodes)}
    both |= {node for node in nodes if any(is_below(node, path) for path in role)}
    if not both:
        raise Nothing
    return both


def _layers(inventory: Inventory, nodes: set[str], cut: str) -> set[str]:
    stacks = [s.layers for s in inventory.stacks if s.main]
    stacks = [
        layers for layers in stacks if all(any(is_below(path, node) for node in nodes) for path in layers)
    ]
    if not stacks:
        raise Nothing
    if not cut:
        return {path for layers in stacks for path in layers}
    if len(stacks) > 1:
        raise Nothing(fatal=True)
    layers = stacks[0]
    ends = [_end(text, len(layers)) for text in cut.split(":")]
    if any(end is not None and not 0 <= end <= len(layers) for end in ends):
        raise Nothing(fatal=True)
    chosen = set(layers[ends[0] :][:1]) if len(ends) == 1 else set(layers[slice(*ends)])
    if not chosen:
        raise Nothing(fatal=True)
    return chosen


def _end(text: str, length: int) -> int | None:
    if not text:
        return None
    if text.endswith("%"):
        return int(length * int(text[:-1]) / 100)
    return int(text) if int(text) >= 0 else length + int(text)


def _below(inventory: Inventory, nodes: set[str]) -> frozenset[str]:
    return frozenset(
        info.name for info in inventory.params if any(is_below(info.name, node) for node in nodes)
    )
