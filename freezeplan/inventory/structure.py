"""A model's tree of modules as plain records, and what is known of it beside the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from freezeplan.inventory.groupings import Grouping
from freezeplan.inventory.growth import Growth
from freezeplan.inventory.records import Doubt, ModuleInfo, ParamInfo

MOST_DIGITS = 9


@dataclass(frozen=True)
class Tower:
    """Describe one model inside the model: its path, what its config counts, what it calls a layer.

    ``counts`` maps config attributes to a number of layers or to one number per stage. ``config`` tells
    configs apart (towers that share one have the same number), ``model`` whether it is a model of its own.
    """

    path: str
    counts: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)
    unsplit: frozenset[str] = frozenset()
    recorded: frozenset[str] = frozenset()
    config: int = 0
    model: bool = False


@dataclass(frozen=True)
class OwnGroups:
    """Hold how a model inside the model groups its parameters itself: finely, by blocks, and coarsely, by stages.

    ``path`` is where it stands; the names are those of the whole model, in order from the bottom up.
    """

    path: str
    fine: tuple[tuple[str, ...], ...]
    coarse: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Hints:
    """Hold what the library that made a model says about its structure.

    ``root`` is the path of the one model that says what its base is (``""`` when nothing of one's own stands around
    it), ``twins`` where else parts of it are registered: the other path, and the one in it, ``put_in`` what
    was put into its base model, whose class builds no such thing. ``base`` is the path of
    the base model, None when not known. ``head_only`` tells that the model at ``root`` is a
    task model whose base is not a child of its own. ``heads`` names its heads where the model says so,
    ``base_children`` the children of the base model's class where no child of ``root`` is the base,
    ``adapters`` the modules that an adapter library added, ``originals`` those that it keeps a trained copy of,
    ``inactive`` the adapters that are not in use; ``adapter_bias`` tells that it thaws biases too,
    ``adapters_only`` that it saves nothing else than these and the parameters ``saved``. ``uses`` tells where in
    the text of a module's forward function each child is named first and last, ``only_read`` of which children its
    code reads the weight and does nothing else. ``growths`` asks the model's own code which config values make lists
    longer (see :meth:`freezeplan.inventory.growth.Rebuilder.growths`). The three are
    None where there is no code to ask. ``grouping`` is how the model itself groups its parameters by depth, None
    where it says nothing of it, ``undecayed`` the parameters that it lists as free of weight decay.
    ``loops`` tells how the items of a list run (see :func:`freezeplan.inventory.loops.order_of_lists`), None where
    there is no code to ask; ``own_groups`` holds what models inside say of their blocks and stages.
    ``doubts`` tells what the library cannot say.
    """

    root: str = ""
    twins: tuple[tuple[str, str], ...] = ()
    put_in: tuple[str, ...] = ()
    base: str | None = None
    head_only: bool = False
    heads: tuple[str, ...] | None = None
    input_embeddings: tuple[str, ...] = ()
    towers: tuple[Tower, ...] = ()
    adapters: tuple[str, ...] = ()
    originals: tuple[str, ...] = ()
    inactive: frozenset[str] = frozenset()
    adapter_bias: bool = False
    adapters_only: bool = False
    saved: frozenset[str] = frozenset()
    base_children: tuple[str, ...] | None = None
    uses: Callable[[str], Mapping[str, tuple[int, int]]] | None = None
    only_read: Callable[[str], frozenset[str]] | None = None
    growths: Callable[[Iterable[int], Mapping[int, int]], tuple[Growth, ...]] | None = None
    grouping: Grouping | None = None
    undecayed: frozenset[str] = frozenset()
    doubts: tuple[Doubt, ...] = ()
    loops: Callable[[str], str | None] | None = None
    own_groups: tuple[OwnGroups, ...] = ()


@dataclass(frozen=True)
class Tree:
    """Answer questions about modules and parameters by path; both are in registration order."""

    params: tuple[ParamInfo, ...]
    modules: tuple[ModuleInfo, ...]

    @cached_property
    def by_path(self) -> dict[str, ModuleInfo]:
        """Every module by its path."""
        return {info.path: info for info in self.modules}

    @cached_property
    def children(self) -> dict[str, tuple[str, ...]]:
        """The paths of each module's children, in order."""
        found: dict[str, list[str]] = {info.path: [] for info in self.modules}
        for info in self.modules:
            if info.path:
                found.setdefault(parent(info.path), []).append(info.path)
        return {path: tuple(paths) for path, paths in found.items()}

    @cached_property
    def own(self) -> dict[str, tuple[ParamInfo, ...]]:
        """The parameters that each module holds itself."""
        found: dict[str, list[ParamInfo]] = {}
        for info in self.params:
            found.setdefault(info.module, []).append(info)
        return {path: tuple(infos) for path, infos in found.items()}

    @cached_property
    def _below(self) -> dict[str, list[ParamInfo]]:
        found: dict[str, list[ParamInfo]] = {info.path: [] for info in self.modules}
        for info in self.params:
            for path in ancestors(info.module):
                found.setdefault(path, []).append(info)
        return found

    def below(self, path: str) -> list[ParamInfo]:
        """Return the parameters under a module, its own included."""
        return self._below.get(path, [])

    def classes(self, path: str) -> tuple[str, ...]:
        """Return the class names of a module, its own class first."""
        info = self.by_path.get(path)
        return info.classes if info else ()


def parent(path: str) -> str:
    """Return the path of the parent of a module or parameter.

    >>> parent("encoder.layer.0"), parent("encoder")
    ('encoder.layer', '')
    """
    return path.rpartition(".")[0]


def join_index(path: str, index: int) -> str:
    """Return the path of a module's numbered child."""
    return f"{path}.{index}" if path else str(index)


def last(path: str) -> str:
    """Return the last segment of a path."""
    return path.rpartition(".")[2]


def as_index(name: str) -> int | None:
    """Return the number that a module or parameter is called, None for any other name.

    >>> as_index("11"), as_index("layer"), as_index("9" * 5000)
    (11, None, None)
    """
    return int(name) if name.isdecimal() and len(name) <= MOST_DIGITS else None


def ancestors(path: str) -> list[str]:
    """Return the path itself, its parent, and so on up to the root's empty path.

    >>> ancestors("a.b")
    ['a.b', 'a', '']
    """
    found = [path]
    while path:
        path = parent(path)
        found.append(path)
    return found


def is_under(path: str, root: str) -> bool:
    """Tell whether ``path`` is ``root`` or lies below it, segment by segment.

    >>> is_under("layer.10", "layer.1")
    False
    """
    return not root or path == root or path.startswith(root + ".")


def under_any(path: str, roots: Iterable[str]) -> bool:
    """Tell whether ``path`` lies at or below one of ``roots``."""
    return any(is_under(path, root) for root in roots)


def smallest(paths: Iterable[str]) -> tuple[str, ...]:
    """Drop repeated paths and those below another one, keeping the order."""
    found = tuple(dict.fromkeys(paths))
    kept = set(found)
    return tuple(path for path in found if not any(up in kept for up in ancestors(path)[1:]))


def cover(tree: Tree, names: Iterable[str]) -> tuple[str, ...]:
    """Return the fewest module and parameter paths that together name exactly these parameters.

    The root itself is never used, so that a role names parts of a model.
    """
    wanted = set(names)
    found = [_widest(tree, info, wanted) for info in tree.params if info.name in wanted]
    return smallest(found)


def _widest(tree: Tree, info: ParamInfo, wanted: set[str]) -> str:
    best = info.name
    for path in ancestors(info.module):
        if not path or any(other.name not in wanted for other in tree.below(path)):
            break
        best = path
    return best
