"""The tree of a model with alike neighbours folded: twelve equal layers are one, ``{0..11}``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from freezeplan.inventory.records import Inventory, ModuleInfo, ParamInfo
from freezeplan.inventory.structure import as_index


@dataclass(frozen=True)
class Folded:
    """One module or parameter, or ``count`` neighbouring modules that are alike.

    ``name`` is its own segment, of folded ones a pattern that names them all. ``kind`` is a module's class,
    ``shape`` a parameter's; ``numel`` counts the parameters below, of one. ``roles`` are those that begin here;
    ``tied`` is the name of the same tensor that comes first.
    """

    name: str
    kind: str = ""
    shape: tuple[int, ...] | None = None
    numel: int = 0
    roles: tuple[str, ...] = ()
    tied: str | None = None
    children: tuple[Folded, ...] = ()
    count: int = 1


@dataclass(frozen=True)
class _Index:
    modules: dict[str, list[ModuleInfo]]
    params: dict[str, list[ParamInfo]]
    roles: dict[str, list[str]]


def folded_tree(inventory: Inventory) -> Folded:
    """Return the root of an inventory's tree: parameters of a module first, then its modules, in order."""
    modules: dict[str, list[ModuleInfo]] = {}
    params: dict[str, list[ParamInfo]] = {}
    for module in inventory.modules:
        if module.path:
            modules.setdefault(module.path.rpartition(".")[0], []).append(module)
    for info in inventory.params:
        params.setdefault(info.module, []).append(info)
    root = next((item for item in inventory.modules if not item.path), ModuleInfo(""))
    return _module(root, _Index(modules, params, _roles(inventory)))


def _roles(inventory: Inventory) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for role, paths in inventory.role_nodes.items():
        for path in paths:
            found.setdefault(path, []).append(role)
    for stack in inventory.stacks:
        for path in (path for span in stack.spans for path in span if stack.main):
            found.setdefault(path, []).insert(0, "layers")
    return found


def _module(module: ModuleInfo, index: _Index) -> Folded:
    own = [_param(info, index) for info in index.params.get(module.path, ())]
    below = [_module(item, index) for item in index.modules.get(module.path, ())]
    children = (*own, *_fold(below))
    kind = module.classes[0] if module.classes else ""
    numel = sum(child.numel * child.count for child in children)
    roles = tuple(index.roles.get(module.path, ()))
    return Folded(module.path.rpartition(".")[2], kind, None, numel, roles, None, children)


def _param(info: ParamInfo, index: _Index) -> Folded:
    numel = 0 if info.alias_of else info.numel
    roles = tuple(index.roles.get(info.name, ()))
    return Folded(info.name.rpartition(".")[2], "", info.shape, numel, roles, info.alias_of)


def _fold(nodes: Iterable[Folded]) -> Iterator[Folded]:
    """Join neighbours with consecutive numbers for names that are alike in all but the name."""
    numbered = enumerate(nodes)
    for _, run in groupby(numbered, lambda item: _likeness(*item)):
        group = [node for _, node in run]
        if len(group) == 1:
            yield group[0]
        else:
            name = f"{{{group[0].name}..{group[-1].name}}}"
            yield replace(group[0], name=name, count=len(group))


def _likeness(position: int, node: Folded) -> tuple[object, ...]:
    index = as_index(node.name)
    return node.name if index is None else index - position, replace(node, name="")
