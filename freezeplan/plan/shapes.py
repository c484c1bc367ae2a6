"""What ``shape:`` and ``@params`` select: parameters by their shape, and by their share of all elements."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from freezeplan.inventory.records import Inventory, ParamInfo
from freezeplan.plan.tree import NameTree, Node, Scope
from freezeplan.spec.selector import Slice
from freezeplan.spec.shapes import Shape

CONVOLUTIONS = {"Conv1d", "Conv2d", "Conv3d"}


def of_shape(inventory: Inventory, shape: Shape) -> list[ParamInfo]:
    """Return the names, in order, of the tensors of a shape.

    A depthwise kernel is the weight of a convolution whose groups take one channel each, so that its second axis
    has the length 1.
    """
    found = [info for info in inventory.params if shape.fits(info.shape)]
    if not shape.depthwise:
        return found
    owners = {module.path for module in inventory.modules if CONVOLUTIONS & set(module.classes)}
    return [info for info in found if info.module in owners]


def share_nodes(tree: NameTree, scope: Scope, cut: Slice | None) -> list[Node]:
    """Return the parameters in a scope whose elements lie in a share of the scope's elements.

    Tensors follow each other in the order of the model, a tied one at its first name. One on the border counts to
    the part behind it: the share before a border holds the tensors that end there or earlier.
    """
    inside = [info for info in tree.inventory.params if scope.below(tree.by_path[info.name])]
    tensors = {info.alias_of or info.name: info.numel for info in inside}
    wanted = set(_cut(tensors, cut) if cut else tensors)
    return [tree.by_path[info.name] for info in inside if (info.alias_of or info.name) in wanted]


def _cut(tensors: dict[str, int], cut: Slice) -> Iterable[str]:
    total = sum(tensors.values())
    start, stop = ((bound.number if bound else None) for bound in (cut.start, cut.stop))
    end = 0
    for name, numel in tensors.items():
        end += numel
        behind = start is None or end > _border(total, start)
        before = stop is None or end <= _border(total, stop)
        if behind and before:
            yield name


def _border(total: int, percent: int | Fraction) -> int:
    return int(total * percent // 100)
