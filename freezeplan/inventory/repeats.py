"""Modules that repeat: places in the tree whose paths differ in nothing but numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise

from freezeplan.inventory.biases import is_vector
from freezeplan.inventory.structure import Tree, ancestors, as_index, is_under, last, parent

NUMBER = re.compile(r"\d+")
Signature = tuple[tuple[str, tuple[int, ...]], ...]


def template(path: str) -> str:
    """Return a path with a star for each number in it, so that modules that repeat look alike.

    >>> template("stages.0.blocks.11.mlp"), template("layer3.22")
    ('stages.*.blocks.*.mlp', 'layer*.*')
    """
    return NUMBER.sub("*", path)


@dataclass(frozen=True)
class Repeats:
    """Answer which modules of a tree repeat, and how much alike they are."""

    tree: Tree

    @cached_property
    def places(self) -> dict[str, tuple[str, ...]]:
        """The modules with parameters whose own name holds a number, by their template, in registration order."""
        found: dict[str, list[str]] = {}
        for path in self.tree.by_path:
            if NUMBER.search(last(path)) and self.tree.below(path):
                found.setdefault(template(path), []).append(path)
        return {name: tuple(paths) for name, paths in found.items()}

    @cached_property
    def order(self) -> dict[str, int]:
        """The place of each module in registration order."""
        return {path: place for place, path in enumerate(self.tree.by_path)}

    @cached_property
    def inside(self) -> dict[str, tuple[str, ...]]:
        """The templates below each template, the nearest first."""
        found: dict[str, list[str]] = {name: [] for name in self.places}
        for name in sorted(self.places, key=lambda name: name.count(".")):
            for above in ancestors(name)[1:]:
                if above in found:
                    found[above].append(name)
        return {name: tuple(below) for name, below in found.items()}

    def numel(self, paths: Iterable[str]) -> int:
        """Count the elements below some modules, tied tensors once."""
        return sum(info.numel for path in paths for info in self.tree.below(path) if info.alias_of is None)

    def kind(self, path: str) -> tuple[str, ...]:
        """Return what tells a module's kind: its class, or the names of its children where no class is known."""
        return self.tree.classes(path)[:1] or tuple(last(child) for child in self.tree.children[path])

    def holds_modules(self, path: str) -> bool:
        """Tell whether parameters of a module stand in other modules inside it."""
        return any(info.module != path for info in self.tree.below(path))

    def is_composite(self, path: str) -> bool:
        """Tell whether a module holds two matrices or more in modules inside it: enough to be a block."""
        homes = {info.module for info in self.tree.below(path) if not is_vector(info.shape)}
        return len(homes - {path}) > 1

    def signature(self, path: str) -> Signature:
        """Return the names and shapes of all that a module holds."""
        start = len(path) + 1
        return tuple((info.name[start:], info.shape) for info in self.tree.below(path))

    def any_neighbours_equal(self, paths: Sequence[str]) -> bool:
        """Tell whether two modules that follow each other in one list hold tensors of the same names and shapes."""
        return any(
            parent(one) == parent(two) and self.signature(one) == self.signature(two)
            for one, two in pairwise(paths)
        )


def is_numbered(path: str) -> bool:
    """Tell whether a module's name is a number and nothing else."""
    return as_index(last(path)) is not None


def by_home(paths: Sequence[str], homes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the paths by the one of ``homes`` that each lies in; homes without any are left out."""
    known = set(homes)
    home = {path: next((up for up in ancestors(path) if up in known), "") for path in paths}
    return {key: tuple(group) for key, group in groupby(paths, key=lambda path: home[path]) if key in known}


def common(paths: Sequence[str]) -> str:
    """Return the deepest module that all paths lie in, none of them itself.

    >>> common(["a.b.0", "a.b.1"]), common(["layer1", "layer2"]), common(["a.b.0"])
    ('a.b', '', 'a.b')
    """
    return next(
        up for up in ancestors(paths[0])[1:] if all(is_under(path, up) and path != up for path in paths)
    )
