"""The tree of module and parameter paths that patterns are matched against."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from freezeplan.inventory.records import Inventory


class Node:
    """One path: a module, a parameter, or both.

    ``index`` up to but not including ``end`` numbers the node and all below it in tree order; ``low``
    up to ``high`` does the same for the parameters, by their position in the tree.
    """

    __slots__ = ("children", "end", "high", "index", "low", "param", "parent", "path", "segment")

    def __init__(self, segment: str, path: str, parent: Node | None) -> None:
        self.segment = segment
        self.path = path
        self.parent = parent
        self.children: dict[str, Node] = {}
        self.param: int | None = None
        self.index = self.end = self.low = self.high = 0

    def child(self, segment: str) -> Node:
        """Return the child of that name, made on first use."""
        found = self.children.get(segment)
        if found is None:
            path = f"{self.path}.{segment}" if self.path else segment
            found = self.children[segment] = Node(segment, path, self)
        return found


class NameTree:
    """All paths of an inventory, numbered so that "everything below" is a range.

    ``order[p]`` is the inventory index of the parameter at tree position ``p``; masks (see
    ``plan/masks.py``) hold one flag per tree position.
    """

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.root = Node("", "", None)
        self.order: list[int] = []
        self.nodes: list[Node] = []
        self.by_path: dict[str, Node] = {}
        self.by_segment: dict[str, list[Node]] = {}
        self._fill(inventory)
        self._number(self.root)

    @property
    def size(self) -> int:
        """Number of parameter names."""
        return len(self.order)

    def _fill(self, inventory: Inventory) -> None:
        """Add each module and then its own parameters, so that tree order is registration order."""
        own: dict[str, list[int]] = {}
        for index, info in enumerate(inventory.params):
            own.setdefault(info.module, []).append(index)
        for module in inventory.modules:
            self._add(module.path)
            self._add_params(own.pop(module.path, []))
        for left in own.values():
            self._add_params(left)

    def _add_params(self, indices: Iterable[int]) -> None:
        for index in indices:
            self._add(self.inventory.params[index].name).param = index

    def _add(self, path: str) -> Node:
        node = self.by_path.get(path)
        if node is None:
            node = self.root
            for segment in path.split(".") if path else ():
                node = node.child(segment)
            self.by_path[path] = node
        return node

    def _number(self, root: Node) -> None:
        """Number the nodes depth first, without recursion: models nest deeper than Python's stack."""
        stack: list[tuple[Node, bool]] = [(root, False)]
        while stack:
            node, left = stack.pop()
            if left:
                node.end, node.high = len(self.nodes), len(self.order)
                continue
            self._enter(node)
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.children.values()))

    def _enter(self, node: Node) -> None:
        node.index, node.low = len(self.nodes), len(self.order)
        self.nodes.append(node)
        self.by_path[node.path] = node
        self.by_segment.setdefault(node.segment, []).append(node)
        if node.param is not None:
            self.order.append(node.param)


class Scope:
    """The nodes at or below any node of a set, as merged ranges of tree order."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        for node in sorted(nodes, key=lambda node: node.index):
            if not self.ends or node.index >= self.ends[-1]:
                self.starts.append(node.index)
                self.ends.append(node.end)

    def below(self, node: Node) -> bool:
        """Whether a node lies in one of the subtrees (their roots included)."""
        position = bisect_right(self.starts, node.index) - 1
        return position >= 0 and node.index < self.ends[position]

    def strictly_below(self, node: Node) -> bool:
        """Whether a node has an ancestor, other than itself, in the set."""
        return node.parent is not None and self.below(node.parent)
