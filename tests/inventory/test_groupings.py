"""How a model groups its own parameters: timm's numbers for models of timm, and for matchers of any shape."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from benchmarks.timm_models import import_timm, meta_timm
from freezeplan.inventory.groupings import grouping_of

NAMES = [
    "stem.weight",
    "blocks.0.a.weight",
    "blocks.0.b.weight",
    "blocks.10.a.weight",
    "norm.weight",
    "head.weight",
]
timm = import_timm()
needs_timm = pytest.mark.skipif(timm is None, reason="timm is not installed")


class Grouped:
    """A model that says how it groups its parameters."""

    def __init__(self, matcher: Any) -> None:
        self.matcher = matcher

    def group_matcher(self, coarse: bool = False) -> Any:
        """Return the finer matcher."""
        return None if coarse else self.matcher


# One of each kind: patterns of one and of several parts, functions, more than one stack, and none at all.
MODELS = (
    "cait_xxs24_224",
    "coat_lite_mini",
    "convnext_atto",
    "csatv2",
    "hrnet_w18_small",
    "inception_v3",
    "pit_ti_224",
    "resnet18",
    "selecsls42",
    "swin_tiny_patch4_window7_224",
    "test_vit",
    "volo_d1_224",
    "xcit_nano_12_p8_224",
)


@needs_timm
@pytest.mark.parametrize("name", MODELS)
def test_models_of_timm_have_the_numbers_of_timms_own_functions(name: str) -> None:
    from timm.models._manipulate import group_parameters
    from timm.optim._param_groups import auto_group_layers

    model = meta_timm(name)
    if hasattr(model, "group_matcher"):
        theirs = group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    else:
        theirs = auto_group_layers(model)
    found = grouping_of(model, [name for name, _ in model.named_parameters()])
    assert found is not None
    assert dict(found.rungs) == theirs
    assert found.top == max(theirs.values())


def test_what_a_pattern_numbers_is_a_block_and_what_joins_one_is_none() -> None:
    matcher = {
        "stem": "^stem",
        "blocks": [(r"^blocks\.(\d+)\.b", (0,)), (r"^blocks\.(\d+)", None), ("^norm", (99999,))],
    }
    found = grouping_of(Grouped(matcher), NAMES)
    assert found is not None
    assert found.blocks == ("blocks.0", "blocks.10")
    assert dict(found.rungs) == dict(zip(NAMES, [0, 1, 2, 3, 3, 4], strict=True))


def test_a_function_groups_and_numbers_no_blocks() -> None:
    found = grouping_of(Grouped(lambda name: int(name.startswith("head"))), NAMES)
    assert found is not None
    assert (found.top, found.blocks) == (1, ())
    assert [name for name, rung in found.rungs.items() if rung] == ["head.weight"]


class Failing(nn.Module):
    """A model whose method of that name is another one."""

    def group_matcher(self, depth: int) -> int:
        """Return what timm never does."""
        return depth


@pytest.mark.parametrize("model", [nn.Linear(2, 2), Failing(), Grouped(None), Grouped(3)])
def test_models_that_say_nothing_have_no_grouping(model: Any) -> None:
    assert grouping_of(model, NAMES) is None
