"""Layer decay by stages, what a stage holds besides layers, and one ladder per stack."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.api import compile_plan, load_spec
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory, ModuleInfo, ParamInfo, Stack
from freezeplan.models.sources import inventory_for
from freezeplan.plan.records import Plan

RESNET = {"embedding_size": 8, "hidden_sizes": [8, 8, 8], "depths": [1, 3, 2], "layer_type": "basic"}
SWIN = {"image_size": 16, "patch_size": 2, "embed_dim": 4, "depths": [1, 2, 1], "num_heads": [1, 1, 1]}
CONVNEXT = {"hidden_sizes": [4, 4, 4], "depths": [1, 2, 1], "num_stages": 3}
T5 = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_heads": 2, "vocab_size": 16, "num_layers": 2}


def model(model_type: str, config: dict[str, Any], class_name: str = "AutoModel") -> Inventory:
    table = {"class": class_name, "config": {"model_type": model_type, **config}}
    return inventory_for(load_spec({"model": table}))


def planned(inventory: Inventory, *rules: dict[str, Any]) -> Plan:
    spec = {"optimizer": {"lr": 1.0, "no_decay": []}, "rule": list(rules)}
    return compile_plan(inventory, spec)


def rates(inventory: Inventory, **decay: Any) -> dict[str, float]:
    return rates_of(planned(inventory, {"match": "**", "state": "trainable", "layer_decay": decay}))


def rates_of(plan: Plan) -> dict[str, float]:
    return {param.name: what.lr for param, what in zip(plan.params, plan.phases[0].assignments, strict=True)}


def under(found: dict[str, float], prefix: str) -> set[float]:
    """Return the rates below a module; there are some."""
    picked = {rate for name, rate in found.items() if name.startswith(prefix)}
    assert picked, prefix
    return picked


def one(found: dict[str, float], prefix: str) -> float:
    """Return the rate of all that is below a module; it is the same everywhere."""
    (rate,) = under(found, prefix)
    return rate


# Embeddings, the three stages, the head: the published formulas with L = 3 stages.
BY_STAGE = {
    "beit": (0.5, [0.0625, 0.125, 0.25, 0.5, 1.0]),
    "dinov2": (0.5, [0.0625, 0.125, 0.25, 0.5, 1.0]),
    "electra": (0.5, [0.03125, 0.0625, 0.125, 0.25, 1.0]),
    "timm": (0.5, [0.0625, 0.125, 0.25, 0.5, 1.0]),
    "ulmfit": (0.25, [0.00390625, 0.015625, 0.0625, 0.25, 1.0]),
    "geometric": (0.0001, [0.0001, 0.001, 0.01, 0.1, 1.0]),
}


@pytest.mark.parametrize("formula", BY_STAGE)
def test_all_layers_of_a_stage_stand_on_one_rung(formula: str) -> None:
    rate, expected = BY_STAGE[formula]
    found = rates(
        model("resnet", RESNET, "AutoModelForImageClassification"), formula=formula, rate=rate, unit="stages"
    )
    parts = ["resnet.embedder", *(f"resnet.encoder.stages.{stage}." for stage in range(3)), "classifier"]
    for part, value in zip(parts, expected, strict=True):
        assert one(found, part) == pytest.approx(value, rel=1e-12), part


def test_layers_are_the_unit_where_none_is_named() -> None:
    inventory = model("resnet", RESNET)
    plain = rates(inventory, formula="beit", rate=0.5)
    assert plain == rates(inventory, formula="beit", rate=0.5, unit="layers")
    layers = [
        f"encoder.stages.{stage}.layers.{at}." for stage, at in ((0, 0), (1, 0), (1, 1), (1, 2), (2, 0))
    ]
    assert [one(plain, layer) for layer in layers] == [0.5**power for power in (6, 5, 4, 3, 2)]


def test_a_rung_is_a_group_named_after_its_stage() -> None:
    rule = {
        "match": "**",
        "state": "trainable",
        "layer_decay": {"formula": "beit", "rate": 0.5, "unit": "stages"},
    }
    plan = planned(model("resnet", RESNET, "AutoModelForImageClassification"), rule)
    assert [group.name for group in plan.groups] == [
        "**/embeddings", "**/stage 0", "**/stage 1", "**/stage 2", "**/rest",
    ]  # fmt: skip


def test_a_downsampling_at_the_end_of_a_stage_goes_with_its_last_layer() -> None:
    found = rates(model("swin", SWIN), formula="beit", rate=0.5)
    assert one(found, "encoder.layers.1.downsample") == one(found, "encoder.layers.1.blocks.1.") == 0.25


def test_a_downsampling_at_the_beginning_of_a_stage_goes_with_its_first_layer() -> None:
    found = rates(model("convnext", CONVNEXT), formula="beit", rate=0.5)
    first = one(found, "encoder.stages.1.layers.0.")
    assert one(found, "encoder.stages.1.downsampling_layer") == first == 0.125


@pytest.mark.parametrize(("model_type", "config"), [("swin", SWIN), ("convnext", CONVNEXT)])
def test_a_downsampling_belongs_to_its_stage(model_type: str, config: dict[str, Any]) -> None:
    inventory = model(model_type, config)
    found = rates(inventory, formula="beit", rate=0.5, unit="stages")
    root = inventory.stacks[0].path
    assert [one(found, f"{root}.{stage}.") for stage in range(3)] == [0.125, 0.25, 0.5]


def tower(sizes: list[int]) -> Inventory:
    """Return embeddings and stages of so many layers; each stage also holds a weight of its own."""
    ends = list(accumulate(sizes))
    params = [ParamInfo("tokens.weight", (4, 4), "float32", "tokens", roles=frozenset({"embeddings"}))]
    layers, number = [], 0
    for stage, size in enumerate(sizes):
        home = f"stages.{stage}"
        place = {"roles": frozenset({"stages"}), "stack": "stages", "stage": stage}
        params.append(ParamInfo(f"{home}.down.weight", (4, 4), "float32", f"{home}.down", **place))
        for _ in range(size):
            layers.append(f"{home}.layers.{number - ends[stage] + size}")
            params.append(
                ParamInfo(f"{layers[-1]}.weight", (4, 4), "float32", layers[-1], layer=number, **place)
            )
            number += 1
    modules = ["", "tokens", "stages"]
    for stage in range(len(sizes)):
        home = f"stages.{stage}"
        modules += [
            home,
            f"{home}.down",
            f"{home}.layers",
            *(at for at in layers if at.startswith(home + ".")),
        ]
    stack = Stack(
        "stages",
        tuple(layers),
        stages=tuple((f"stages.{stage}",) for stage in range(len(sizes))),
        stage_sizes=tuple(sizes),
    )
    nodes = {"embeddings": ("tokens",)}
    return Inventory("tower", tuple(params), tuple(ModuleInfo(at) for at in modules), "", (stack,), nodes)


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    rate=st.floats(0.05, 0.99),
    formula=st.sampled_from(["beit", "electra", "geometric", "timm", "ulmfit"]),
)
def test_stages_of_any_size_have_the_factors_of_as_many_layers(sizes, rate, formula):
    staged = rates(tower(sizes), formula=formula, rate=rate, unit="stages")
    single = rates(tower([1] * len(sizes)), formula=formula, rate=rate, unit="layers")
    assert staged["tokens.weight"] == single["tokens.weight"]
    for stage in range(len(sizes)):
        assert one(staged, f"stages.{stage}.") == one(single, f"stages.{stage}.")


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6), rate=st.floats(0.05, 0.99))
def test_what_a_stage_holds_is_never_above_the_next_stage(sizes, rate):
    found = rates(tower(sizes), formula="beit", rate=rate)
    for stage in range(len(sizes) - 1):
        assert max(under(found, f"stages.{stage}.")) < min(under(found, f"stages.{stage + 1}."))


def test_a_model_of_both_kinds_needs_a_rule_for_each() -> None:
    inventory = model("maskformer", {})
    everything = {"match": "**", "state": "trainable"}
    stages = {"formula": "beit", "rate": 0.5, "unit": "stages"}
    with pytest.raises(DiagnosticError) as refused:
        planned(inventory, everything | {"layer_decay": stages})
    assert [item.code for item in refused.value.diagnostics] == ["FP419"]
    assert "`transformer_module.decoder.layers`" in refused.value.diagnostics[0].message
    assert refused.value.diagnostics[0].help == 'give its layers a rule of their own, with `unit = "layers"`'
    found = rates_of(
        planned(
            inventory,
            everything,
            {"match": "pixel_level_module.@stages", "layer_decay": stages},
            {"match": "transformer_module.decoder.@layers", "layer_decay": stages | {"unit": "layers"}},
        )
    )
    root = "pixel_level_module.encoder.model.encoder.layers"
    assert [under(found, f"{root}.{stage}.") for stage in range(4)] == [
        {0.5**power} for power in (4, 3, 2, 1)
    ]
    decoder = [one(found, f"transformer_module.decoder.layers.{at}.") for at in range(6)]
    assert decoder == [0.5**power for power in (6, 5, 4, 3, 2, 1)]


def test_two_stacks_have_a_ladder_each_with_a_rate_of_its_own() -> None:
    inventory = model("t5", T5 | {"num_decoder_layers": 3})
    found = rates_of(
        planned(
            inventory,
            {"match": "**", "state": "trainable"},
            {"match": "encoder.@layers", "layer_decay": {"formula": "beit", "rate": 0.5}},
            {"match": "decoder.@layers", "layer_decay": {"formula": "beit", "rate": 0.1}},
        )
    )
    assert [one(found, f"encoder.block.{at}.") for at in range(2)] == [0.25, 0.5]
    decoder = [one(found, f"decoder.block.{at}.") for at in range(3)]
    assert decoder == pytest.approx([0.001, 0.01, 0.1], rel=1e-12)
    assert found["shared.weight"] == 1.0
