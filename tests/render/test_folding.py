"""The folded tree says no more and no less than the names do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hypothesis import given

from freezeplan.inventory.records import Inventory, ModuleInfo, ParamInfo
from freezeplan.render.folding import Folded, folded_tree
from tests.strategies import inventories

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def unfolded(node: Folded, path: str = "") -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and shape of every parameter that a folded tree stands for."""
    for child in node.children:
        span = RANGE.fullmatch(child.name)
        names = map(str, range(int(span[1]), int(span[2]) + 1)) if span else [child.name]
        for name in names:
            whole = f"{path}.{name}" if path else name
            if child.shape is not None:
                yield whole, child.shape
            yield from unfolded(child, whole)


@given(inventories())
def test_unfolding_gives_back_every_parameter(inventory: Inventory) -> None:
    assert sorted(unfolded(folded_tree(inventory))) == sorted((i.name, i.shape) for i in inventory.params)


@given(inventories())
def test_the_root_counts_every_tensor_once(inventory: Inventory) -> None:
    assert folded_tree(inventory).numel == sum(info.numel for info in inventory.tensors)


def test_alike_neighbours_fold_and_others_do_not() -> None:
    shapes = {"l.0": 2, "l.1": 2, "l.2": 3, "l.3": 3, "l.5": 3}
    modules = (
        ModuleInfo("", ("M",)),
        ModuleInfo("l", ("ModuleList",)),
        *(ModuleInfo(p, ("L",)) for p in shapes),
    )
    params = tuple(ParamInfo(f"{path}.w", (size,), "float32", path) for path, size in shapes.items())
    (stack,) = folded_tree(Inventory("m", params, modules)).children
    assert [(child.name, child.count) for child in stack.children] == [("{0..1}", 2), ("{2..3}", 2), ("5", 1)]
