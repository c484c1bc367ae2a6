"""Layers and stages of models of which no library says what they are: the smallest repeated blocks, all or none."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from freezeplan.api import compile_plan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Inventory, Stack
from tests.inventory.staged import (
    DEPTHS,
    Beside,
    Block,
    Branches,
    Equal,
    Experts,
    InOneList,
    Named,
    Nested,
    Siblings,
    Stage,
    blocks,
)
from tests.plan.matching import selected


def the_stack(inventory: Inventory) -> Stack:
    """Return the one main stack, which is not in doubt."""
    assert [doubt for doubt in inventory.doubts if "layers" in doubt.roles] == []
    (stack,) = [stack for stack in inventory.stacks if stack.main]
    return stack


def refused(inventory: Inventory) -> str:
    """Return why `@layers` is refused."""
    (doubt,) = [doubt for doubt in inventory.doubts if "layers" in doubt.roles]
    assert selected(inventory, "@layers") == (frozenset(), True)
    found, wrong = selected(inventory, doubt.advice.split("`")[1])
    assert found, doubt.advice
    assert not wrong
    return doubt.reason


STAGED = {
    "siblings": (Siblings, ("layer1.0", "layer2.0", "layer2.1"), ("layer3",)),
    "in one list": (
        InOneList,
        ("features.1.0", "features.3.0", "features.3.1"),
        ("features.5", "features.4"),
    ),
    "nested": (Nested, ("stages.0.inner.0", "stages.1.inner.0", "stages.1.inner.1"), ("stages.2",)),
    "named": (
        Named,
        ("trunk.stage1.block1-0", "trunk.stage2.block2-0", "trunk.stage2.block2-1"),
        ("trunk.stage3", "trunk.transition3"),
    ),
    "beside": (Beside, ("stages.0.0", "stages.1.0", "stages.1.1"), ("stages.2", "downsample_layers.2")),
}


@pytest.mark.parametrize(("kind", "first", "third"), STAGED.values(), ids=STAGED)
def test_blocks_are_found_in_all_stages_in_order(
    kind: type[nn.Module], first: tuple[str, ...], third: tuple[str, ...]
) -> None:
    stack = the_stack(inventory_of(kind()))
    assert stack.stage_sizes == DEPTHS
    assert stack.layers[:3] == first
    assert stack.stages[2] == third


@pytest.mark.parametrize("kind", [Siblings, InOneList, Nested, Named, Beside])
@given(st.lists(st.integers(1, 12), min_size=2, max_size=5).filter(lambda depths: max(depths) > 1))
def test_no_depth_makes_some_of_the_stages_the_layers(kind: type[nn.Module], depths: list[int]) -> None:
    """All blocks of all stages, in order, or a refusal: never some."""
    inventory = inventory_of(kind(depths))
    if any("layers" in doubt.roles for doubt in inventory.doubts):
        return
    stack = the_stack(inventory)
    assert (stack.length, stack.stage_sizes) == (sum(depths), tuple(depths))
    assert list(stack.layers) == [info.path for info in inventory.modules if info.path in stack.layers]


@pytest.mark.parametrize(
    ("kind", "stem"),
    [(Siblings, "conv1"), (InOneList, "features.0"), (Nested, "stem"), (Named, "trunk.conv0")],
)
def test_a_stem_embeds_also_in_one_list_with_stages(kind: type[nn.Module], stem: str) -> None:
    assert inventory_of(kind()).role_nodes["embeddings"] == (stem,)


def test_what_makes_maps_smaller_before_the_first_stage_embeds_and_no_other() -> None:
    inventory = inventory_of(Beside())
    assert inventory.role_nodes["embeddings"] == ("downsample_layers.0",)
    assert inventory.role_nodes["final_norm"] == ("norm",)


@pytest.mark.parametrize("kind", [Siblings, InOneList, Nested, Named, Beside])
def test_rates_rise_through_the_stages(kind: type[nn.Module]) -> None:
    inventory = inventory_of(kind())
    rule = {"match": "**", "state": "trainable", "layer_decay": {"formula": "beit", "rate": 0.5}}
    plan = compile_plan(inventory, {"optimizer": {"lr": 1.0, "no_decay": []}, "rule": [rule]})
    rates = {info.name: what.lr for info, what in zip(plan.params, plan.phases[0].assignments, strict=True)}
    stack = the_stack(inventory)
    length = sum(DEPTHS)
    for at, layer in enumerate(stack.layers):
        assert {rates[name] for name in rates if name.startswith(f"{layer}.")} == {0.5 ** (length - at)}
    stem = inventory.role_nodes["embeddings"][0]
    assert {rates[name] for name in rates if name.startswith(f"{stem}.")} == {0.5 ** (length + 1)}
    inside = {info.name for info in inventory.params if "stages" in info.roles}
    assert all(rates[name] < 1 for name in inside)


def test_ten_comes_after_nine_in_names_with_numbers() -> None:
    model = nn.Module()
    model.layers = nn.Sequential(OrderedDict((f"layer_{at}", Block(4)) for at in range(12)))
    stack = the_stack(inventory_of(model))
    assert stack.layers[9:] == ("layers.layer_9", "layers.layer_10", "layers.layer_11")


def test_the_items_of_a_list_that_repeat_are_layers_and_its_ends_are_not() -> None:
    model = nn.Module()
    model.features = nn.Sequential(nn.Conv2d(3, 4, 3), *blocks(4, 5), nn.Conv2d(4, 9, 1))
    inventory = inventory_of(model)
    assert the_stack(inventory).layers == tuple(f"features.{at}" for at in range(1, 6))
    assert inventory.role_nodes["embeddings"] == ("features.0",)


@pytest.mark.parametrize("layer", [Branches, Experts])
def test_what_runs_side_by_side_inside_a_layer_is_no_layer(layer: Callable[[int], nn.Module]) -> None:
    model = nn.Module()
    model.layers = nn.ModuleList(layer(width) for width in (4, 8, 12))
    stack = the_stack(inventory_of(model))
    assert (stack.layers, stack.stages) == (("layers.0", "layers.1", "layers.2"), ())


def test_convolutions_in_a_list_inside_a_layer_are_no_layers() -> None:
    model = nn.Module()
    model.layers = nn.ModuleList(
        nn.ModuleDict({"convs": nn.ModuleList(nn.Conv2d(width, width, 3) for _ in range(4))})
        for width in (4, 8, 12)
    )
    assert the_stack(inventory_of(model)).length == 3


def test_equal_modules_that_hold_equal_modules_are_refused() -> None:
    model = nn.Module()
    model.groups = nn.ModuleList(Equal() for _ in range(4))
    inventory = inventory_of(model)
    assert refused(inventory) == "modules that are equal hold lists of modules that are equal"
    (doubt,) = [doubt for doubt in inventory.doubts if "layers" in doubt.roles]
    assert [(path, length) for path, length, _ in doubt.candidates] == [("groups", 4), ("groups.0.inner", 3)]


@pytest.mark.parametrize("match", ["**", "groups"])
def test_a_ladder_is_refused_where_it_is_not_clear_what_the_blocks_are(match: str) -> None:
    """Also inside the list in doubt: which of the two lists in it is meant is as open there."""
    model = nn.Module()
    model.groups = nn.ModuleList(Equal() for _ in range(4))
    rules = [
        {"match": "**", "state": "trainable"},
        {"name": "ladder", "match": match, "layer_decay": {"formula": "beit", "rate": 0.5}},
    ]
    with pytest.raises(DiagnosticError) as caught:
        compile_plan(model, {"rule": rules})
    assert [found.code for found in caught.value.diagnostics] == ["FP214"]


def test_of_groups_in_groups_the_outermost_are_the_stages() -> None:
    model = nn.Module()
    model.stages = nn.ModuleList(
        nn.Sequential(nn.Conv2d(3, width, 1), Stage(width, 1), Stage(width, depth))
        for width, depth in ((4, 2), (8, 3), (16, 2))
    )
    stack = the_stack(inventory_of(model))
    assert stack.stage_sizes == (3, 4, 3)
    assert stack.stages == (("stages.0",), ("stages.1",), ("stages.2",))


def test_blocks_of_another_kind_on_the_way_to_the_blocks_are_refused() -> None:
    """A transformer inside a block beside convolutional blocks, as in a MobileViT."""
    model = nn.Module()
    model.trunk = nn.ModuleList(
        nn.Sequential(nn.Sequential(nn.Conv2d(3, width, 1), nn.Conv2d(width, width, 3)), Stage(width, 3))
        for width in (4, 8, 16)
    )
    assert "some holds others" in refused(inventory_of(model))


SIZES = ((1, 4), (2, 8), (3, 12))


class Silent(nn.Module):
    """A stage whose code does not say how its blocks run."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.ModuleList(blocks(width, 2))


def test_blocks_of_which_no_code_says_how_they_run_are_refused() -> None:
    model = nn.Module()
    model.stages = nn.ModuleList(Silent(width) for width in (4, 8, 12))
    assert "no code says" in refused(inventory_of(model))


def test_stages_made_of_two_lists_each_are_refused() -> None:
    model = nn.Module()
    pairs = [(nn.Sequential(*blocks(width, 2)), nn.Sequential(*blocks(width, 2))) for width in (4, 8)]
    model.stages = nn.ModuleList(nn.ModuleDict({"resnets": one, "attentions": two}) for one, two in pairs)
    assert "several lists" in refused(inventory_of(model))


def test_the_advice_names_blocks_of_stages_by_a_path_that_is_there() -> None:
    model = nn.Module()
    model.encoder = nn.ModuleDict({f"layer{at}": nn.Sequential(*blocks(width, 2)) for at, width in SIZES})
    model.neck = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16) for _ in range(3))
    assert "nothing says which are the layers" in refused(inventory_of(model))


def test_a_small_list_of_the_same_blocks_beside_the_layers_is_refused() -> None:
    """Named without numbers, nothing tells that it is one more stage."""
    model = nn.Module()
    model.body = nn.ModuleList(blocks(8, 40))
    model.neck = nn.ModuleList(blocks(8, 2))
    assert "one kind" in refused(inventory_of(model))


def test_two_modules_of_one_name_are_no_layers() -> None:
    model = nn.Module()
    model.tower1, model.tower2 = Block(4), Block(4)
    assert [stack for stack in inventory_of(model).stacks if stack.main] == []
