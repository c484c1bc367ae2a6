"""Layers and stages from a model's own `group_matcher`, as timm's models have one."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Inventory, Stack
from tests.inventory.staged import Block, Equal, Nested, Siblings, blocks

SIBLINGS = {False: r"^layer(\d+)\.(\d+)", True: r"^layer(\d+)"}
NESTED = {
    False: [(r"^stages\.(\d+)\.down", (0,)), (r"^stages\.(\d+)\.inner\.(\d+)", None)],
    True: r"^stages\.(\d+)",
}


class Grouped:
    """Adds the two answers, the fine and the coarse one."""

    said: dict[bool, Any]

    def group_matcher(self, coarse: bool = False) -> Any:
        """Return patterns, as timm does."""
        return {"stem": r"^conv1|^stem", "blocks": self.said[coarse]}


class GroupedSiblings(Grouped, Siblings):
    """Stages side by side."""

    said = SIBLINGS


class GroupedStages(Grouped, Nested):
    """Stages in a list, with what leads into each grouped with its first block."""

    said = NESTED


def the_stack(inventory: Inventory) -> Stack:
    assert [doubt for doubt in inventory.doubts if "layers" in doubt.roles] == []
    (stack,) = [stack for stack in inventory.stacks if stack.main]
    return stack


@pytest.mark.parametrize(("grouped", "plain"), [(GroupedSiblings, Siblings), (GroupedStages, Nested)])
def test_it_says_what_structure_says(grouped: type[nn.Module], plain: type[nn.Module]) -> None:
    one, two = the_stack(inventory_of(grouped())), the_stack(inventory_of(plain()))
    assert (one.layers, one.stages, one.stage_sizes) == (two.layers, two.stages, two.stage_sizes)
    assert "the model's own group_matcher tells them apart" in one.evidence


class Coarse(Grouped, Nested):
    """Groups by stages only."""

    said = {False: r"^stages\.(\d+)", True: r"^stages\.(\d+)"}


def test_blocks_are_looked_for_inside_groups_that_are_stages() -> None:
    stack = the_stack(inventory_of(Coarse()))
    assert stack.stage_sizes == (1, 2, 4, 1)
    assert stack.layers[1] == "stages.1.inner.0"


class Settled(Grouped, nn.Module):
    """Equal stages of equal blocks, of which the model says which are which."""

    said = {False: r"^groups\.(\d+)\.inner\.(\d+)", True: r"^groups\.(\d+)"}

    def __init__(self) -> None:
        super().__init__()
        self.groups = nn.ModuleList(Equal() for _ in range(4))


def test_it_settles_what_structure_leaves_open() -> None:
    assert the_stack(inventory_of(Settled())).stage_sizes == (3, 3, 3, 3)


class Whole(Settled):
    """The same, of which the model says that the outer ones are its blocks."""

    said = {False: r"^groups\.(\d+)", True: r"^groups\.(\d+)"}


def test_its_word_for_blocks_holds_where_these_are_equal() -> None:
    stack = the_stack(inventory_of(Whole()))
    assert (stack.length, stack.stages) == (4, ())


class Outlook(nn.Module):
    """Numbered lists of blocks with what makes maps smaller between them, and one list more under a name."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.ModuleList(
            [
                nn.Sequential(*blocks(4, 2)),
                nn.Conv2d(4, 8, 2),
                nn.Sequential(*blocks(8, 3)),
                nn.Sequential(*blocks(8, 2)),
            ]
        )
        self.post = nn.ModuleList(blocks(8, 2))
        self.conv3, self.conv4 = Block(8), Block(8)

    def group_matcher(self, coarse: bool = False) -> Any:
        """Return patterns, as timm's VOLO and Xception do."""
        lists = [(r"^network\.(\d+)\.(\d+)", None), (r"^network\.(\d+)", (0,))]
        return {"blocks": lists, "more": r"^post\.(\d+)", "last": [("^conv[34]", (99,))]}


def test_lists_of_blocks_are_stages_and_what_stands_between_them_belongs_to_one() -> None:
    stack = the_stack(inventory_of(Outlook()))
    assert stack.stage_sizes == (2, 3, 2, 2)
    assert stack.stages == (("network.0",), ("network.2", "network.1"), ("network.3",), ("post",))


def test_two_modules_in_one_group_of_no_other_kind_are_no_block() -> None:
    assert not {"conv3", "conv4"} & set(the_stack(inventory_of(Outlook())).layers)


class Numbers(nn.Module):
    """Answers with a function from names to numbers, for blocks of several kinds under names without any order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.mixed_a1, self.mixed_b1 = Block(4), nn.Sequential(*blocks(4, 1), nn.Conv2d(4, 4, 1))
        self.mixed_c1, self.head = Block(4), nn.Linear(4, 2)

    def group_matcher(self, coarse: bool = False) -> Any:
        """Return a number for each name."""
        places = ("conv", "mixed_a1", "mixed_b1", "mixed_c1")
        return lambda name: next(
            (float(at) for at, part in enumerate(places) if name.startswith(part)), float("inf")
        )


def test_numbers_for_names_do() -> None:
    assert the_stack(inventory_of(Numbers())).layers == ("mixed_a1", "mixed_b1", "mixed_c1")


class Broken(Siblings):
    """Answers with something else altogether."""

    def __init__(self, said: Any) -> None:
        super().__init__()
        self.said = said

    def group_matcher(self, coarse: bool = False) -> Any:
        """Return what was given."""
        return self.said


@pytest.mark.parametrize("said", [None, 3, "blocks", {}, {"stem": "^conv1"}, {"blocks": "^nothing"}, {1: 2}])
def test_an_answer_of_another_kind_says_nothing(said: Any) -> None:
    assert the_stack(inventory_of(Broken(said))).stage_sizes == (1, 2, 4, 1)


def test_a_model_inside_a_model_is_asked_and_a_sizeable_list_beside_it_is_a_doubt() -> None:
    model = nn.Module()
    model.backbone = GroupedSiblings()
    assert the_stack(inventory_of(model)).path == "backbone"
    model.decoder = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 256) for _ in range(6))
    reasons = [doubt.reason for doubt in inventory_of(model).doubts if "layers" in doubt.roles]
    assert reasons == ["several lists repeat a module, and nothing says which are the layers"]
