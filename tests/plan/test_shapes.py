"""What is selected by shape, and by share of the parameters."""

from __future__ import annotations

from itertools import accumulate

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Inventory
from freezeplan.plan.binding import match_patterns, tensors_in
from freezeplan.plan.tree import NameTree
from tests.strategies import inventories


def hit(inventory: Inventory, pattern: str, optional: bool = False) -> list[str]:
    """Return the canonical names that a pattern selects, and no problem."""
    tree = NameTree(inventory)
    mask, problems = match_patterns(tree, [pattern], ("rule", 0, "match"), optional)
    assert problems == []
    return [info.alias_of or info.name for info in tensors_in(tree, mask)]


def share(inventory: Inventory, pattern: str) -> list[str]:
    """Return the names of a share; a share that holds no tensor is refused (FP205)."""
    tree = NameTree(inventory)
    mask, problems = match_patterns(tree, [pattern], ("rule", 0, "match"), False)
    assert [item.code for item in problems] == ([] if mask else ["FP205"])
    return [info.alias_of or info.name for info in tensors_in(tree, mask)]


@given(inventories(), st.integers(0, 1000).map(lambda tenths: (tenths, f"{tenths // 10}.{tenths % 10}%")))
def test_two_shares_part_the_tensors_and_one_on_the_border_is_behind_it(
    inventory: Inventory, border: tuple[int, str]
) -> None:
    tensors = inventory.tensors
    ends = accumulate(info.numel for info in tensors)
    total = sum(info.numel for info in tensors)
    before = {info.name for info, end in zip(tensors, ends, strict=True) if end <= total * border[0] // 1000}
    assert set(share(inventory, f"@params[:{border[1]}]")) == before
    assert set(share(inventory, f"@params[{border[1]}:]")) == {info.name for info in tensors} - before


class Net(nn.Module):
    """Kernels of three kinds, a norm, and a head on a table that it is tied to."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.wide = nn.Conv2d(4, 4, 3)
        self.deep = nn.Conv2d(4, 4, 3, groups=4)
        self.back = nn.ConvTranspose2d(4, 1, 3)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 5)
        self.head.weight = self.table.weight


@pytest.fixture(scope="module")
def net() -> Inventory:
    with torch.device("meta"):
        return inventory_of(Net(), "net")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("shape:1d", ["wide.bias", "deep.bias", "back.bias", "norm.weight", "norm.bias", "head.bias"]),
        ("shape:5x4", ["table.weight"]),
        ("shape:4x*x3x3", ["wide.weight", "deep.weight", "back.weight"]),
        ("shape:depthwise", ["deep.weight"]),
        ("@params", [
            "table.weight", "wide.weight", "wide.bias", "deep.weight", "deep.bias", "back.weight", "back.bias",
            "norm.weight", "norm.bias", "head.bias",
        ]),
        ("@params[:8%]", ["table.weight"]),
        ("@params[95%:]", ["norm.weight", "norm.bias", "head.bias"]),
        ("wide.@params[50%:]", ["wide.weight", "wide.bias"]),
        ("wide.@params[:98%]", ["wide.weight"]),
        ("@params[90%:].@bias", ["back.bias", "norm.bias", "head.bias"]),
    ],
)  # fmt: skip
def test_what_is_selected(net: Inventory, pattern: str, names: list[str]) -> None:
    assert hit(net, pattern) == names


def test_a_shape_that_no_tensor_has_says_which_there_are(net: Inventory) -> None:
    _, problems = match_patterns(NameTree(net), ["shape:3d"], ("rule", 0, "match"), False)
    assert [(item.code, item.help) for item in problems] == [
        ("FP201", "tensors of this model are `shape:1d`, `shape:2d`, `shape:4d`")
    ]
    assert hit(net, "shape:3d", optional=True) == []
