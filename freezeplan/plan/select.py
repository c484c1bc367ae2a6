"""From one pattern to the set of parameter names it selects, or the reasons why it selects none."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import regex

from freezeplan.diagnostics.wording import quoted, some
from freezeplan.plan import masks
from freezeplan.plan.near_misses import Miss, Stray, describe_walk, unknown_class
from freezeplan.plan.shapes import of_shape
from freezeplan.plan.tree import NameTree, Node, Scope
from freezeplan.plan.walk import Walk, walk
from freezeplan.spec.braces import Choice
from freezeplan.spec.selector import Segment, Selector
from freezeplan.spec.shapes import parse_shape

REGEX_SECONDS = 1.0
# What a branch selects, and why it selects nothing (or not all that it could mean).
Found = tuple[list[Node], Miss | Stray | None]
# A miss, and the brace alternatives of the branch it comes from.
Missed = tuple[Miss, tuple[Choice, ...]]


@dataclass(frozen=True)
class Match:
    """The names a pattern selects (a mask over tree positions), and what in it hit nothing."""

    mask: int
    misses: tuple[Miss, ...] = ()


def select(tree: NameTree, selector: Selector) -> Match:
    """Match one pattern against the tree.

    Every brace alternative must hit something: those that do not are returned as misses, one for each
    place in the pattern.
    """
    if selector.kind == "class":
        return _by_class(tree, selector)
    if selector.kind == "shape":
        return _by_shape(tree, selector)
    if selector.kind == "regex":
        return _by_regex(tree, selector)
    return _by_path(tree, selector)


def _by_path(tree: NameTree, selector: Selector) -> Match:
    nodes: list[Node] = []
    misses: list[Missed] = []
    live: set[Choice] = set()
    described: dict[tuple[int, int], Miss] = {}
    for branch in selector.branches:
        found, miss = _anchored(tree, branch)
        nodes += found
        choices = tuple(choice for part in branch for choice in part.choices)
        if miss is None or found:
            live.update(choices)
        if isinstance(miss, Stray):
            miss = _described(tree, miss, described)
        if miss is not None:
            misses.append((miss, choices))
    dead = _dead_alternatives(misses, live) if nodes else [miss for miss, _ in misses]
    return Match(masks.mask_of(nodes, tree.size), _one_for_each_place(dead))


def _described(tree: NameTree, stray: Stray, known: dict[tuple[int, int], Miss]) -> Miss:
    """Describe a branch that found no name; of those that stopped at one place in the pattern, the first."""
    if stray.best.problem:
        return describe_walk(tree, stray)
    place = stray.place
    if place not in known:
        known[place] = describe_walk(tree, stray)
    return known[place]


def _dead_alternatives(misses: list[Missed], live: set[Choice]) -> list[Miss]:
    """Keep what is wrong in itself, and the alternatives that no branch got a hit with, by place."""
    found = [miss for miss, _ in misses if miss.always]
    dead: dict[tuple[int, int], tuple[Miss, list[str]]] = {}
    for miss, choices in misses:
        for choice in choices:
            if choice not in live and not miss.always:
                place = _inner_place(miss, choice)
                dead.setdefault(place, (miss, []))[1].append(choice.text)
    for (start, end), (miss, texts) in dead.items():
        found.append(replace(miss, message=_no_hit(list(dict.fromkeys(texts))), start=start, end=end))
    return found


def _inner_place(miss: Miss, choice: Choice) -> tuple[int, int]:
    inside = choice.start <= miss.start and miss.end <= choice.end
    return (miss.start, miss.end) if inside else (choice.start, choice.end)


def _no_hit(texts: list[str]) -> str:
    if len(texts) == 1:
        return f"alternative `{texts[0]}` matches no parameter"
    return f"alternatives {some(texts)} match no parameter"


def _one_for_each_place(misses: list[Miss]) -> tuple[Miss, ...]:
    kept: dict[tuple[int, int, str, str], Miss] = {}
    for miss in misses:
        kept.setdefault((miss.start, miss.end, miss.code, miss.message), miss)
    return tuple(kept.values())


def _anchored(tree: NameTree, branch: tuple[Segment, ...]) -> Found:
    at_root = walk(tree, tree.root, branch)
    base = tree.by_path.get(tree.inventory.base) if tree.inventory.base else None
    if branch[0].role or base is None or (branch[0].text == "**" and at_root.nodes):
        return _settle(tree, branch, at_root, None)
    at_base = walk(tree, base, branch)
    if branch[0].text == "*" and at_root.nodes:
        nodes, miss = _settle(tree, branch, at_root, None)
        return nodes, miss or _passed_over(nodes, at_base, branch)
    if at_root.nodes and at_base.nodes:
        return _both(at_root, at_base, branch)
    return _settle(tree, branch, *((at_root, at_base) if at_root.nodes else (at_base, at_root)))


def _both(at_root: Walk, at_base: Walk, branch: tuple[Segment, ...]) -> tuple[list[Node], Miss | None]:
    if {node.index for node in at_root.nodes} == {node.index for node in at_base.nodes}:
        return at_root.nodes, None
    first, second = at_root.nodes[0].path, at_base.nodes[0].path
    message = f"the pattern means `{first}` from the root and `{second}` from the base model"
    return [], Miss(
        "FP206", message, branch[0].start, branch[-1].end, f"write `{second}` or a role", always=True
    )


def _passed_over(nodes: list[Node], at_base: Walk, branch: tuple[Segment, ...]) -> Miss | None:
    """Say what a pattern that begins with ``*`` would also find from the base model, where it is not read."""
    taken = Scope(nodes)
    left = next((node for node in at_base.nodes if node.high > node.low and not taken.below(node)), None)
    if left is None:
        return None
    message = f"the pattern is read from the root alone: it means `{nodes[0].path}` and not `{left.path}`"
    advice = "begin with `**` for any depth, or write more of the path"
    return Miss("FP218", message, branch[0].start, branch[-1].end, advice, always=True)


def _settle(tree: NameTree, branch: tuple[Segment, ...], first: Walk, second: Walk | None) -> Found:
    if first.nodes:
        return _with_parameters(first, branch)
    if (tower := _tower(tree, branch)) is not None:
        return tower
    best = max((done for done in (first, second) if done is not None), key=_telling)
    other = first if best is second else second
    return [], Stray(branch, best, other)


def _with_parameters(found: Walk, branch: tuple[Segment, ...]) -> tuple[list[Node], Miss | None]:
    kept = [node for node in found.nodes if node.high > node.low]
    if kept:
        return kept, None
    last, path = branch[-1], found.nodes[0].path
    return [], Miss(
        "FP202",
        f"`{path}` is a module without parameters",
        last.start,
        last.end,
        "name a module that has some",
    )


def _telling(failed: Walk) -> tuple[bool, int]:
    """Rank failed readings: one that is ambiguous or out of range says more than one that finds nothing."""
    return failed.problem is not None and failed.problem[0] != "FP203", failed.depth


def _tower(tree: NameTree, branch: tuple[Segment, ...]) -> Found | None:
    """Try ``decoder.@layers``: what stands before a role may be the end of a tower's path."""
    split = next((place for place, part in enumerate(branch) if part.role), 0)
    if split == 0:
        return None
    path = [part.text for part in branch[:split]]
    ends = [node for node in tree.by_segment.get(path[-1], []) if node.path.split(".")[-len(path) :] == path]
    walks = [(node, walk(tree, node, branch[split:])) for node in _outermost(ends)]
    hits = [(node, done) for node, done in walks if done.nodes]
    if len(hits) > 1:
        names = quoted(node.path for node, _ in hits)
        message = f"`{'.'.join(path)}` could be any of {names}"
        return [], Miss(
            "FP204", message, branch[0].start, branch[split - 1].end, "write more of the path", always=True
        )
    if hits:
        return hits[0][1].nodes, None
    failed = [done for _, done in walks if done.problem]
    return ([], Stray(branch, max(failed, key=_telling))) if failed else None


def _outermost(nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if not Scope(n for n in nodes if n is not node).strictly_below(node)]


def _by_class(tree: NameTree, selector: Selector) -> Match:
    if tree.inventory.weak:
        advice = "name modules by their paths, or give `architecture`"
        miss = Miss(
            "FP207", "module classes are not known from a weights file alone", 0, len(selector.text), advice
        )
        return Match(masks.EMPTY, (miss,))
    named = [module for module in tree.inventory.modules if selector.value in module.classes]
    nodes = [tree.by_path[module.path] for module in named]
    mask = masks.mask_of(nodes, tree.size)
    return Match(mask) if mask else Match(mask, (unknown_class(tree, selector, bool(named)),))


def _by_shape(tree: NameTree, selector: Selector) -> Match:
    shape, end = parse_shape(selector.value), len(selector.text)
    if shape.depthwise and tree.inventory.weak:
        message = "which kernels are of convolutions is not known from a weights file alone"
        return Match(masks.EMPTY, (Miss("FP207", message, 0, end, "give `architecture`"),))
    nodes = [tree.by_path[info.name] for info in of_shape(tree.inventory, shape)]
    mask = masks.mask_of(nodes, tree.size)
    if mask:
        return Match(mask)
    message = f"no parameter is of the shape `{selector.value}`"
    return Match(mask, (Miss("FP201", message, len("shape:"), end, _shapes_there(tree)),))


def _shapes_there(tree: NameTree) -> str:
    axes = sorted({len(info.shape) for info in tree.inventory.params})
    return "tensors of this model are " + quoted(f"shape:{number}d" for number in axes)


def _by_regex(tree: NameTree, selector: Selector) -> Match:
    end = len(selector.text)
    try:
        pattern = regex.compile(selector.value)
        hits = _full_matches(tree, pattern)
    except (regex.error, RecursionError, MemoryError, OverflowError) as problem:
        reason = str(problem) or "it is too large"
        return Match(
            masks.EMPTY,
            (Miss("FP145", f"not a regular expression: {reason}", 3, end, "escape it, or use a glob"),),
        )
    except TimeoutError:
        message = f"the regular expression took more than {REGEX_SECONDS:g} s"
        return Match(
            masks.EMPTY, (Miss("FP208", message, 3, end, "remove nested repetitions, or use a glob"),)
        )
    if not hits:
        advice = "the expression must match a parameter's whole name; put `.*` around a part"
        return Match(
            masks.EMPTY, (Miss("FP201", "the regular expression matches no parameter", 3, end, advice),)
        )
    return Match(masks.mask_of_positions(hits, tree.size))


def _full_matches(tree: NameTree, pattern: regex.Pattern[str]) -> list[int]:
    """Match all names in one budget: joined time is what a user waits for."""
    deadline = time.monotonic() + REGEX_SECONDS
    params = tree.inventory.params
    hits = []
    for position, index in enumerate(tree.order):
        left = max(deadline - time.monotonic(), 1e-3)
        if pattern.fullmatch(params[index].name, timeout=left):
            hits.append(position)
    return hits
