"""timm's own models: multipliers and weight decays are those of timm's own function, to the bit."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from benchmarks.timm_models import import_timm, meta_timm
from freezeplan.api import compile_plan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of

timm = import_timm()
needs_timm = pytest.mark.skipif(timm is None, reason="timm is not installed")
# Transformers, hierarchies and convolutions; lists of names with wildcards; one stack after another; ties; no matcher.
MODELS = (
    "beit_base_patch16_224",
    "coat_lite_mini",
    "convnext_atto",
    "deit_tiny_distilled_patch16_224",
    "efficientnet_b0",
    "pit_ti_224",
    "resnet18",
    "swin_tiny_patch4_window7_224",
    "test_vit",
    "xcit_nano_12_p8_224",
)


def spec(rate: float, floor: float = 0.0, **decay: Any) -> dict[str, Any]:
    rule = {
        "match": "**",
        "state": "trainable",
        "layer_decay": {"formula": "timm", "rate": rate, "min_mult": floor, **decay},
    }
    return {"optimizer": {"lr": 1.0, "weight_decay": 0.05, "no_decay": "timm"}, "rule": [rule]}


def by_timm(model: Any, rate: float, floor: float = 0.0) -> dict[str, tuple[float, float]]:
    from timm.optim import param_groups_layer_decay

    names = {id(tensor): name for name, tensor in model.named_parameters()}
    listed = getattr(model, "no_weight_decay", set)()
    groups = param_groups_layer_decay(model, 0.05, listed, layer_decay=rate, min_scale=floor)
    return {
        names[id(item)]: (group["lr_scale"], group["weight_decay"])
        for group in groups
        for item in group["params"]
    }


def ours(model: Any, wanted: dict[str, Any]) -> dict[str, tuple[float, float]]:
    groups = compile_plan(model, wanted).groups
    return {name: (group.lr[0], group.weight_decay[0]) for group in groups for name in group.members}


@needs_timm
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [7, 0])
def test_every_tensor_has_timms_numbers_to_the_bit(name: str, classes: int) -> None:
    model = meta_timm(name, num_classes=classes)
    for rate, floor in ((0.65, 0.0), (0.8, 0.0), (0.9, 0.3)):
        theirs = by_timm(model, rate, floor)
        assert ours(model, spec(rate, floor)) == theirs
        assert len({scale for scale, _ in theirs.values()}) > 1


@needs_timm
def test_the_models_own_list_adds_to_what_has_one_axis() -> None:
    model = meta_timm("test_vit")
    tensors, plan = dict(model.named_parameters()), ours(model, spec(0.5))
    spared = {name for name, (_, decay) in plan.items() if decay == 0.0 and tensors[name].ndim > 1}
    assert spared == model.no_weight_decay() & plan.keys() >= {"pos_embed"}


@needs_timm
def test_groups_are_named_by_timms_numbers() -> None:
    names = [group.name for group in compile_plan(meta_timm("test_vit"), spec(0.5)).groups]
    assert names[0].startswith("**/group 0")
    assert any("group 7" in name for name in names)


@needs_timm
def test_other_formulas_and_stages_do_not_count_timms_groups() -> None:
    model = meta_timm("test_vit")
    beit = ours(model, spec(0.5, formula="beit"))
    assert (beit["norm.weight"][0], beit["blocks.0.norm1.weight"][0]) == (1.0, 0.5**6)


@needs_timm
def test_a_rate_that_no_float_can_hold_is_reported() -> None:
    with pytest.raises(DiagnosticError) as caught:
        compile_plan(meta_timm("test_vit"), spec(1e300))
    assert "FP418" in {item.code for item in caught.value.diagnostics}


class Vit(nn.Module):
    """A model of one's own, which names no head."""

    def __init__(self, head: bool) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 4)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16) for _ in range(3))
        self.norm = nn.LayerNorm(8)
        if head:
            self.head = nn.Linear(8, 2)


@pytest.mark.parametrize("head", [True, False])
def test_whatever_stands_above_the_layers_is_the_top_rung(head: bool) -> None:
    found = {name: factor for name, (factor, _) in ours(Vit(head), spec(0.5)).items()}
    top = 4 if head else 3
    assert found["patch_embed.weight"] == 0.5**top
    assert found["blocks.0.linear1.weight"] == 0.5 ** (top - 1)
    assert found["blocks.2.linear1.weight"] == found["norm.weight"] == 0.5 ** (top - 3)
    assert found.get("head.weight", 1.0) == 1.0


class Own(nn.Module):
    """A module of one's own around a model of timm, with a head beside it or without."""

    def __init__(self, classes: int, head: bool) -> None:
        super().__init__()
        self.model = meta_timm("test_vit", num_classes=classes)
        if head:
            self.out = nn.Linear(64, 3, device="meta")


@needs_timm
@pytest.mark.parametrize("classes", [3, 0])
def test_a_module_around_a_model_of_timm_has_its_numbers(classes: int) -> None:
    model = Own(classes, head=False)
    theirs = {f"model.{name}": numbers for name, numbers in by_timm(model.model, 0.65).items()}
    assert ours(model, spec(0.65)) == theirs


@needs_timm
def test_a_head_beside_a_model_of_timm_is_the_top_group() -> None:
    found = ours(Own(0, head=True), spec(0.65))
    theirs = by_timm(meta_timm("test_vit", num_classes=3), 0.65)
    assert found["out.weight"] == theirs["head.weight"] == (1.0, 0.05)
    assert {name: found[f"model.{name}"] for name in theirs if not name.startswith("head.")} == {
        name: numbers for name, numbers in theirs.items() if not name.startswith("head.")
    }


@needs_timm
def test_two_models_of_timm_in_one_module_are_not_grouped_by_one_of_them() -> None:
    model = nn.ModuleDict({"a": meta_timm("test_vit"), "b": meta_timm("test_vit2")})
    assert {info.rung for info in inventory_of(model).params} == {None}
