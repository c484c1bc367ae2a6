"""What a module's code says about its lists: one after the other, or side by side."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from freezeplan.inventory.loops import order_of_lists
from freezeplan.inventory.usage import order_of_use


class Lists(nn.Module):
    """A list whose items a subclass runs."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
        self.other = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))


class InTurn(Lists):
    def forward(self, x: Any) -> Any:
        for item in self.items:
            x = item(x)
        return x


class WithOthers(Lists):
    def forward(self, x: Any) -> Any:
        for index, (item, other) in enumerate(zip(self.items, self.other, strict=True)):
            made = item(x, index=index)
            x = x + made[0]
            other(x)
        return x


class ByIndex(Lists):
    def forward(self, x: Any) -> Any:
        for index in range(2):
            x = self.items[index](x)
        return x


class Kept(Lists):
    def forward(self, x: Any) -> Any:
        found = [x]
        for item in self.items:
            found.append(item(found))
        return found


class ThroughAnother(Lists):
    def forward(self, x: Any) -> Any:
        for item in self.items[:1]:
            x = torch.utils.checkpoint.checkpoint(item.__call__, x, use_reentrant=False)
        return x


class AddedUp(Lists):
    def forward(self, x: Any) -> Any:
        total = 0
        for item in self.items:
            total += item(x)
        return total


class EachItsOwn(Lists):
    def forward(self, x: Any) -> Any:
        for index, item in enumerate(self.items):
            x[index] = item(x[index])
        return x


class AtOnce(Lists):
    def forward(self, x: Any) -> Any:
        return sum(item(x) for item in self.items)


class Elsewhere(Lists):
    def forward(self, x: Any) -> Any:
        return run(self, x)


def run(model: Lists, x: Any) -> Any:
    return model.items[0](x)


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        (InTurn, "sequence"),
        (WithOthers, "sequence"),
        (ByIndex, "sequence"),
        (Kept, "sequence"),
        (ThroughAnother, "sequence"),
        (AddedUp, "parallel"),
        (EachItsOwn, "parallel"),
        (AtOnce, "parallel"),
        (Elsewhere, None),
    ],
)
def test_code_says_how_a_list_runs(kind: type[nn.Module], order: str | None) -> None:
    assert order_of_lists(kind().named_modules())("items") == order


class Pairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pairs = nn.ModuleList(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]) for _ in range(2))
        self.stages = nn.ModuleList(nn.ModuleList([nn.Linear(2, 2)]) for _ in range(2))

    def forward(self, x: Any) -> Any:
        for first, second in self.pairs:
            x = first(x) + x
            x = second(x)
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return x


@pytest.mark.parametrize("path", ["pairs", "stages", "stages.0"])
def test_lists_in_lists(path: str) -> None:
    assert order_of_lists(Pairs().named_modules())(path) == "sequence"


def test_torchs_own_lists() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    orders = order_of_lists(nn.Sequential(nn.TransformerEncoder(layer, 2)).named_modules())
    assert (orders(""), orders("0.layers")) == ("sequence", "sequence")


class Inside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 2), nn.LayerNorm(2)

    def forward(self, x: Any) -> Any:
        return self.last(self.first(x))


def test_a_call_inside_the_arguments_of_another_comes_first() -> None:
    uses = order_of_use(Inside().named_modules())("")
    assert uses["first"][1] < uses["last"][0]
