"""Walking a pattern's segments down the tree of names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from freezeplan.diagnostics.wording import quoted
from freezeplan.inventory.records import Inventory
from freezeplan.plan.layers import Problem, doubt_about, layer_nodes
from freezeplan.plan.shapes import share_nodes
from freezeplan.plan.tree import NameTree, Node, Scope
from freezeplan.spec.selector import Segment


@dataclass
class Walk:
    """Where one brace-free pattern got to.

    ``nodes`` is what it selects; when empty, ``failed`` is the segment that found nothing among what
    is below ``reached``. ``problem`` is a reason other than a missing name, with its advice.
    """

    nodes: list[Node] = field(default_factory=list)
    failed: Segment | None = None
    depth: int = 0
    reached: list[Node] = field(default_factory=list)
    problem: tuple[str, str, str] | None = None


def walk(tree: NameTree, start: Node, segments: Sequence[Segment]) -> Walk:
    """Follow the segments from ``start``; linear in the number of nodes for each segment."""
    frontier, deep = [start], False
    for depth, segment in enumerate(segments):
        if segment.deep:
            deep = True
            continue
        found, problem = _step(tree, frontier, segment, deep)
        if not found:
            return Walk([], segment, depth, frontier, problem)
        frontier, deep = found, False
    return Walk(frontier, depth=len(segments), reached=frontier)


def _step(tree: NameTree, frontier: list[Node], segment: Segment, deep: bool) -> tuple[list[Node], Problem]:
    if segment.role:
        return role_nodes(tree, frontier, segment)
    if deep:
        return _anywhere_below(tree, frontier, segment), None
    return _children(frontier, segment), None


def _children(frontier: list[Node], segment: Segment) -> list[Node]:
    text = segment.text
    if not segment.glob:
        return [node.children[text] for node in frontier if text in node.children]
    fits = segment_matcher(text)
    return _unique(child for node in frontier for name, child in node.children.items() if fits(name))


def _anywhere_below(tree: NameTree, frontier: list[Node], segment: Segment) -> list[Node]:
    if segment.glob:
        fits = segment_matcher(segment.text)
        named = [node for name, nodes in tree.by_segment.items() if fits(name) for node in nodes]
    else:
        named = tree.by_segment.get(segment.text, [])
    if frontier == [tree.root]:
        return [node for node in named if node.parent is not None]
    scope = Scope(frontier)
    return [node for node in named if scope.strictly_below(node)]


def _unique(nodes: Iterable[Node]) -> list[Node]:
    return list({node.index: node for node in nodes}.values())


@lru_cache(maxsize=1024)
def segment_matcher(text: str) -> Callable[[str], bool]:
    """Return a predicate for a segment with ``*`` in it; its time is linear in the name times the stars.

    Greedy leftmost search of the parts between stars needs no backtracking.

    >>> [name for name in ("layer1", "layer10", "mylayer1") if segment_matcher("layer*")(name)]
    ['layer1', 'layer10']
    """
    head, *middle, tail = re.sub(r"\*+", "*", text).split("*")

    def fits(name: str) -> bool:
        if len(name) < len(head) + len(tail) or not (name.startswith(head) and name.endswith(tail)):
            return False
        position, last = len(head), len(name) - len(tail)
        for part in middle:
            found = name.find(part, position, last)
            if found < 0:
                return False
            position = found + len(part)
        return True

    return fits


def role_nodes(tree: NameTree, frontier: list[Node], segment: Segment) -> tuple[list[Node], Problem]:
    """Return the nodes that a role names at or below the frontier, or why there are none."""
    scope = Scope(frontier)
    if problem := doubt_about(tree, scope, segment.role or ""):
        return [], problem
    if segment.role in ("layers", "stages"):
        return layer_nodes(tree, scope, segment)
    if segment.role == "params":
        return _share(tree, scope, segment)
    paths = _paths_of(tree.inventory, segment.role or "")
    found = [tree.by_path[path] for path in paths if path in tree.by_path]
    outer = Scope(found)
    inner = [node for node in found if scope.below(node)]
    covered = [node for node in frontier if outer.below(node)]
    if inner or covered:
        return _unique([*inner, *covered]), None
    return [], (
        "FP203",
        f"the model has no `@{segment.role}`" + ("" if not found else " there"),
        _offer(tree),
    )


def _share(tree: NameTree, scope: Scope, segment: Segment) -> tuple[list[Node], Problem]:
    nodes = share_nodes(tree, scope, segment.cut)
    if nodes:
        return nodes, None
    return [], ("FP205", f"`{segment.text}` selects no tensor", "widen the share: a tensor counts whole")


def _paths_of(inventory: Inventory, role: str) -> tuple[str, ...]:
    if role != "tied":
        return inventory.role_nodes.get(role, ())
    tied = {name for info in inventory.params if info.alias_of for name in (info.name, info.alias_of)}
    return tuple(info.name for info in inventory.params if info.name in tied)


def _offer(tree: NameTree) -> str:
    have = [role for role, paths in tree.inventory.role_nodes.items() if paths]
    have += ["layers"] if tree.inventory.stacks else []
    have += ["stages"] if any(stack.stages for stack in tree.inventory.stacks) else []
    return (
        "this model has " + quoted(f"@{role}" for role in have) if have else "name the modules by their paths"
    )
