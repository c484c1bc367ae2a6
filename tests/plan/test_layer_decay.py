from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Doubt, Inventory, ModuleInfo, ParamInfo, Stack
from freezeplan.plan import compile_plan
from freezeplan.plan.layer_decay.formulas import FORMULAS, Ladder
from freezeplan.plan.rates import exact
from freezeplan.plan.records import Plan
from freezeplan.plan.unfit_rates import held_rate
from freezeplan.spec.tables import Spec
from tests.models.sources import meta


def tower(layers: int, head: bool = True, dtype: str = "float64") -> Inventory:
    """Return embeddings, a stack of one weight each, a final norm, and a head."""
    paths = [f"body.layers.{index}" for index in range(layers)]
    params = [
        ParamInfo(
            "body.patch_embed.weight", (4, 4), dtype, "body.patch_embed", roles=frozenset({"embeddings"})
        ),
        ParamInfo("body.tokens.weight", (4, 4), dtype, "body.tokens", roles=frozenset({"embeddings"})),
        *(
            ParamInfo(
                f"{path}.weight",
                (4, 4),
                dtype,
                path,
                roles=frozenset({"layers"}),
                stack="body.layers",
                layer=index,
            )
            for index, path in enumerate(paths)
        ),
        ParamInfo("body.norm.weight", (4,), dtype, "body.norm", roles=frozenset({"final_norm", "norm"})),
    ]
    if head:
        params.append(ParamInfo("head.weight", (2, 4), dtype, "head", roles=frozenset({"heads"})))
    names = ["", "body", "body.patch_embed", "body.tokens", "body.layers", *paths, "body.norm"] + [
        "head"
    ] * head
    roles = {
        "heads": ("head",) if head else (),
        "embeddings": ("body.patch_embed", "body.tokens"),
        "final_norm": ("body.norm",),
    }
    stack = Stack("body.layers", tuple(paths))
    return Inventory(
        "tower", tuple(params), tuple(ModuleInfo(name) for name in names), "body", (stack,), roles
    )


def decayed(inventory: Inventory, lr: float = 1.0, **decay: object) -> Plan:
    rule = {"match": "**", "state": "trainable", "layer_decay": decay}
    spec = Spec.model_validate({"rule": [rule], "optimizer": {"lr": lr, "no_decay": []}})
    return compile_plan(inventory, spec)


def factors(plan: Plan) -> dict[str, float]:
    return {param.name: what.lr for param, what in zip(plan.params, plan.phases[0].assignments, strict=True)}


def as_table(found: dict[str, float], layers: int) -> dict[str, object]:
    return {
        "embed": found["body.tokens.weight"],
        "blocks": [found[f"body.layers.{index}.weight"] for index in range(layers)],
        "norm": found["body.norm.weight"],
        "head": found.get("head.weight"),
    }


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, dict]:
    return json.loads((shared / "conformance" / "layer_decay.json").read_text())


NAMED = {
    "electra (as released)": ("electra", True),
    "electra (author's intent, #51)": ("beit", True),
    "mae": ("beit", True),
    "beit": ("beit", True),
    "mmpretrain": ("beit", True),
    "detectron2 vit": ("beit", True),
    "dinov2 (patch_embed_lr_mult=0.2)": ("dinov2", True),
    "timm (vit, with head)": ("timm", True),
    "timm (vit, num_classes=0)": ("timm", False),
}


@pytest.mark.parametrize("source", NAMED)
@pytest.mark.parametrize("layers", [6, 12])
@pytest.mark.parametrize("rate", [0.8, 0.9])
def test_the_published_numbers(published, source, layers, rate):
    formula, head = NAMED[source]
    expected = published[f"L={layers},decay={rate}"][source]
    found = factors(decayed(tower(layers, head), formula=formula, rate=rate))
    table = as_table(found, layers)
    if "patch_embed" in expected:
        table["patch_embed"] = found["body.patch_embed.weight"]
    for key, value in expected.items():
        if value is not None:
            assert table[key] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("layers", [6, 12])
def test_the_published_numbers_of_ulmfit_and_fastai(published, layers):
    cases = {
        f"ulmfit L={layers}": {"formula": "ulmfit"},
        f"allennlp 0.38 L={layers}": {"formula": "ulmfit", "rate": 0.38},
        f"fastai slice(0.01,1.0) n={layers + 2}": {"formula": "geometric", "rate": 0.01},
    }
    for source, decay in cases.items():
        table = as_table(factors(decayed(tower(layers), **decay)), layers)
        for key, value in published[source].items():
            assert table[key] == pytest.approx(value, rel=1e-12), (source, key)


def test_mmpretrains_own_test_case(shared: Path):
    cases = json.loads((shared / "conformance" / "peer_cases.json").read_text())
    expected = next(case for case in cases if case["id"] == "mmpretrain-layer-decay")["expected"]
    found = factors(decayed(tower(2), formula="beit", rate=2.0))
    assert found["body.tokens.weight"] == expected["backbone.cls_token"][0] == 8
    assert [found[f"body.layers.{index}.weight"] for index in (0, 1)] == [4, 2]
    assert found["head.weight"] == expected["head.weight"][0] == 1


@given(layers=st.integers(1, 40), rate=st.floats(0.05, 0.99), formula=st.sampled_from(sorted(FORMULAS)))
def test_factors_rise_from_the_embeddings_to_the_head(layers, rate, formula):
    ladder = Ladder(layers)
    found = [float(FORMULAS[formula](ladder, rung, exact(rate))) for rung in range(layers + 2)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(1.0)


DECIMALS = st.decimals("0.01", "1.5", places=3)
WHOLE_POWERS = {"beit": 1, "electra": 2, "timm": 1, "ulmfit": 1}


@given(base=DECIMALS, rate=DECIMALS, layers=st.integers(1, 40), formula=st.sampled_from(sorted(WHOLE_POWERS)))
@example(base=Decimal("0.010"), rate=Decimal("0.625"), layers=23, formula="electra")  # between two floats
def test_whole_powers_are_the_float_nearest_to_the_exact_number(base, rate, layers, formula):
    table = as_table(
        factors(decayed(tower(layers), lr=float(base), formula=formula, rate=float(rate))), layers
    )
    lift = WHOLE_POWERS[formula]
    assert table["embed"] == float(Fraction(base) * Fraction(rate) ** (layers + lift))
    for index, found in enumerate(table["blocks"]):
        assert found == float(Fraction(base) * Fraction(rate) ** (layers - index + lift - 1))


@given(rate=DECIMALS, layers=st.integers(1, 12))
def test_other_powers_are_the_float_nearest_to_the_exact_number(rate, layers):
    table = as_table(factors(decayed(tower(layers), formula="geometric", rate=float(rate))), layers)
    for index, found in enumerate(table["blocks"]):
        # The exact number is irrational: it lies between the middles to the floats beside it.
        low, high = (Fraction(math.nextafter(found, end)) for end in (0.0, math.inf))
        wanted = Fraction(rate) ** (layers - index)
        assert (
            ((low + Fraction(found)) / 2) ** (layers + 1)
            <= wanted
            <= ((high + Fraction(found)) / 2) ** (layers + 1)
        )


def test_the_rate_of_a_rule_and_the_factor_are_multiplied_before_anything_is_rounded():
    rules = [
        {"match": "**", "state": "trainable", "layer_decay": {"formula": "beit", "rate": 0.8}},
        {"match": "body.layers.0", "lr_mult": 0.3},
        {"match": "body.layers.1", "lr": 7e-7},
    ]
    spec = Spec.model_validate({"rule": rules, "optimizer": {"lr": 5e-5, "no_decay": []}})
    found = factors(compile_plan(tower(2), spec))
    assert (found["body.layers.0.weight"], found["body.layers.1.weight"]) == (9.6e-6, 5.6e-7)
    assert (found["body.tokens.weight"], found["head.weight"]) == (2.56e-5, 5e-5)


@pytest.mark.parametrize("formula", sorted(FORMULAS))
@pytest.mark.parametrize(("rate", "lost"), [(1e-200, "0: they would never move"), (1e200, "infinity")])
def test_a_rate_that_no_float_holds_is_an_error_at_the_key(formula, rate, lost):
    # The factors of `geometric` end at the rate itself: only the base rate can take them beyond.
    lr = rate if formula == "geometric" else 1.0
    with pytest.raises(DiagnosticError) as refused:
        decayed(tower(30), lr=lr, formula=formula, rate=rate)
    found = [item for item in refused.value.diagnostics if item.is_error]
    assert [(item.code, item.where) for item in found] == [("FP418", "rule[1].layer_decay.rate")]
    assert found[0].message.endswith(lost)


@pytest.mark.parametrize(
    ("tables", "where", "said"),
    [
        ({"layer_decay": {"formula": "beit", "rate": 1e-47}}, "rule[1].layer_decay.rate", "32 tensors to 0"),
        ({"lr": 1e-47}, "rule[1].lr", "34 tensors to 0"),
        ({"lr_mult": 1e-45}, "rule[1].lr_mult", "34 tensors to 0"),
        ({"lr": 1e39}, "rule[1].lr", "34 tensors to infinity"),
        ({"optimizer": {"lr": 1e-47}}, "optimizer.lr", "34 tensors to 0"),
    ],
)
def test_a_rate_that_float32_rounds_away_is_an_error_where_it_was_made(tables, where, said):
    rule = {"match": "**", "state": "trainable", **tables}
    optimizer = rule.pop("optimizer", {"lr": 0.1})
    spec = Spec.model_validate({"rule": [rule], "optimizer": optimizer})
    with pytest.raises(DiagnosticError) as refused:
        compile_plan(tower(30, dtype="float32"), spec)
    (found,) = [item for item in refused.value.diagnostics if item.is_error]
    assert (found.code, found.where) == ("FP418", where)
    assert f"{said} in float32" in found.message
    assert found.help


def test_float64_holds_what_float32_rounds_away():
    spec = Spec.model_validate({"rule": [{"match": "**", "state": "trainable", "lr": 1e-47}]})
    assert set(factors(compile_plan(tower(3), spec)).values()) == {1e-47}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("rate", [1e-47, 1e-40])
def test_torch_moves_no_weight_by_a_rate_that_is_held_as_0(dtype, rate):
    weight = torch.nn.Parameter(torch.zeros(4, dtype=getattr(torch, dtype)))
    weight.grad = torch.ones_like(weight)
    torch.optim.SGD([weight], lr=rate).step()
    assert bool((weight != 0).all()) is (held_rate(rate, dtype) > 0)


def test_a_floor_saves_the_rates_that_would_be_0():
    plan = decayed(tower(30), formula="beit", rate=1e-200, min_mult=1e-3)
    assert set(factors(plan).values()) == {1.0, 1e-3}


def test_what_is_frozen_needs_no_rate():
    rules = [
        {"match": "**", "state": "frozen", "layer_decay": {"formula": "beit", "rate": 1e-200}},
        {"match": "body.layers.29", "state": "trainable"},
    ]
    spec = Spec.model_validate({"rule": rules, "optimizer": {"lr": 1.0, "no_decay": []}})
    assert factors(compile_plan(tower(30), spec))["body.layers.29.weight"] == 1e-200


@given(floor=st.floats(0.0, 1.0), layers=st.integers(1, 12))
def test_no_factor_is_below_the_floor_and_none_above_it_changes(floor, layers):
    free = factors(decayed(tower(layers), formula="beit", rate=0.5))
    held = factors(decayed(tower(layers), formula="beit", rate=0.5, min_mult=floor))
    assert all(held[name] == max(free[name], floor) for name in free)


def test_depth_is_counted_in_the_whole_stack_though_only_its_top_trains():
    rules = [
        {"match": "**", "state": "frozen"},
        {
            "match": "body.layers.{2..3}",
            "state": "trainable",
            "layer_decay": {"formula": "beit", "rate": 0.5},
        },
    ]
    spec = Spec.model_validate({"rule": rules, "optimizer": {"lr": 1.0, "no_decay": []}})
    found = factors(compile_plan(tower(4), spec))
    assert (found["body.layers.2.weight"], found["body.layers.3.weight"]) == (0.25, 0.5)
    assert found["body.layers.1.weight"] == 0.0


def test_it_multiplies_the_rate_that_other_rules_decide():
    rules = [
        {"match": "**", "state": "trainable", "layer_decay": {"formula": "beit", "rate": 0.5}},
        {"match": "head", "lr_mult": 10.0},
        {"match": "body.layers.1", "lr": 0.3},
    ]
    spec = Spec.model_validate({"rule": rules, "optimizer": {"lr": 0.1, "no_decay": []}})
    found = factors(compile_plan(tower(2), spec))
    assert found["head.weight"] == 1.0
    assert found["body.layers.1.weight"] == 0.15


def test_each_rung_is_a_group_named_after_it():
    plan = decayed(tower(2), formula="timm", rate=0.5)
    assert [group.name for group in plan.groups] == [
        "**/patch embedding", "**/embeddings", "**/layer 0", "**/layer 1", "**/final norm", "**/rest",
    ]  # fmt: skip


def test_a_tied_head_stands_where_its_embedding_does():
    bare = tower(2)
    tied = ParamInfo("head.weight", (4, 4), "float32", "head", "body.tokens.weight", frozenset({"heads"}))
    inventory = Inventory(
        "tied", (*bare.params[:-1], tied), bare.modules, "body", bare.stacks, bare.role_nodes
    )
    assert factors(decayed(inventory, formula="beit", rate=0.5))["body.tokens.weight"] == 0.125


def test_a_ladder_needs_layers():
    bare = Inventory("plain", (ParamInfo("weight", (2, 2), "float32", ""),), (ModuleInfo(""),))
    with pytest.raises(DiagnosticError) as refused:
        decayed(bare, formula="beit", rate=0.5)
    assert [item.code for item in refused.value.diagnostics] == ["FP416"]


def in_doubt(layers: int) -> Inventory:
    options = (("body.layers", layers, ()), ("body.tokens", 1, ()))
    doubt = Doubt(("layers", "stages"), "body", "two lists repeat a module", options)
    return replace(tower(layers), doubts=(doubt,))


def test_a_ladder_needs_layers_that_are_not_in_doubt():
    with pytest.raises(DiagnosticError) as refused:
        decayed(in_doubt(2), formula="beit", rate=0.5)
    (problem,) = refused.value.diagnostics
    assert problem.code == "FP214"
    assert "`body.layers` (2), `body.tokens` (1)" in problem.message
    assert problem.help == "set it for one of them, such as `body.layers.@layers`"


def test_a_ladder_in_one_stack_of_those_in_doubt_is_clear():
    rules = [
        {"match": "**", "state": "trainable"},
        {"match": "body.layers.@layers", "layer_decay": {"formula": "beit", "rate": 0.5}},
        {"match": "head", "layer_decay": {"formula": "beit", "rate": 0.5}},
    ]
    spec = Spec.model_validate({"rule": rules, "optimizer": {"lr": 1.0, "no_decay": []}})
    found = factors(compile_plan(in_doubt(2), spec))
    assert [found[f"body.layers.{index}.weight"] for index in range(2)] == [0.25, 0.5]
    assert found["head.weight"] == 1.0


class Stemmed(torch.nn.Module):
    """A stem, six layers and a head."""

    def __init__(self, stem: torch.nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = torch.nn.ModuleList(torch.nn.TransformerEncoderLayer(8, 2, 512) for _ in range(6))
        self.head = torch.nn.Linear(8, 2)


def conv1d(inputs: int = 1) -> torch.nn.Module:
    return torch.nn.Conv1d(inputs, 8, 3)


@pytest.mark.parametrize(
    "stem",
    [
        conv1d(),
        torch.nn.Sequential(conv1d(), conv1d(8)),
        torch.nn.ModuleList(
            torch.nn.Sequential(conv1d(1 if at == 0 else 8), torch.nn.GroupNorm(1, 8)) for at in range(3)
        ),
        torch.nn.Sequential(
            *(torch.nn.Sequential(conv1d(1 if at == 0 else 8), conv1d(8)) for at in range(2))
        ),
    ],
    ids=["one", "a list", "a list of lists with norms", "in stages"],
)
def test_a_stem_has_the_lowest_rate_also_as_a_numbered_list(stem: torch.nn.Module):
    inventory = inventory_of(Stemmed(stem))
    found = factors(decayed(inventory, formula="beit", rate=0.5))
    assert {rate for name, rate in found.items() if name.startswith("stem.")} == {0.5**7}
    assert {rate for name, rate in found.items() if name.startswith("blocks.0.")} == {0.5**6}
    assert {rate for name, rate in found.items() if name.startswith("head.")} == {1.0}


WAV2VEC2 = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2,
    "vocab_size": 32, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("model_type", "class_name"),
    [("wav2vec2", "Wav2Vec2ForCTC"), ("hubert", "HubertForCTC"), ("wavlm", "WavLMForCTC")],
)
def test_the_feature_extractor_of_a_speech_model_has_the_lowest_rate(model_type: str, class_name: str):
    inventory = inventory_of(meta(model_type, class_name, **WAV2VEC2))
    found = factors(decayed(inventory, formula="beit", rate=0.5))
    assert {rate for name, rate in found.items() if ".feature_extractor.conv_layers." in name} == {0.125}
    assert {rate for name, rate in found.items() if ".feature_projection." in name} == {0.125}
    assert {rate for name, rate in found.items() if ".encoder.layers.0." in name} == {0.25}
    assert found["lm_head.weight"] == 1.0
