"""`no_decay` by the name of a published rule: exactly the names that its own code exempts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer

from freezeplan.api import compile_plan, load_spec
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory, ParamInfo
from tests.models.sources import meta

MODELS = [
    ("bert", "BertForMaskedLM"),
    ("deberta-v2", "DebertaV2ForSequenceClassification"),
    ("t5", "T5ForConditionalGeneration"),
    ("gpt2", "GPT2LMHeadModel"),
    ("qwen3", "Qwen3ForCausalLM"),
    ("whisper", "WhisperModel"),
    ("vit", "ViTForImageClassification"),
    ("swin", "SwinModel"),
    ("resnet", "ResNetForImageClassification"),
    ("convnext", "ConvNextModel"),
    ("beit", "BeitModel"),
    ("clip", "CLIPModel"),
]
RULE = [{"match": "**", "state": "trainable"}]


def exempted(model: nn.Module | Inventory, no_decay: Any, **more: Any) -> set[str]:
    spec = {"optimizer": {"weight_decay": 0.1, "no_decay": no_decay}, "rule": RULE} | more
    plan = compile_plan(model, spec)
    pairs = zip(plan.params, plan.phases[0].assignments, strict=True)
    return {param.name for param, what in pairs if what.weight_decay == 0.0}


def small(model_type: str, class_name: str) -> nn.Module:
    settings = {"t5": {"num_layers": 2}, "whisper": {"encoder_layers": 2, "decoder_layers": 2}}
    return meta(model_type, class_name, **settings.get(model_type, {}))


@pytest.mark.parametrize(("model_type", "class_name"), MODELS)
def test_transformers_is_what_its_trainer_does(model_type: str, class_name: str) -> None:
    model = small(model_type, class_name)
    decayed = set(Trainer.get_decay_parameter_names(None, model))
    expected = {name for name, _ in model.named_parameters() if name not in decayed}
    assert exempted(model, "transformers") == expected
    assert expected and len(expected) < len(list(model.parameters()))


@pytest.mark.parametrize(("model_type", "class_name"), MODELS)
def test_timm_and_beit_go_by_axes_and_names(model_type: str, class_name: str) -> None:
    model = small(model_type, class_name)
    tensors = dict(model.named_parameters())
    assert exempted(model, "timm") == {name for name, tensor in tensors.items() if tensor.ndim <= 1}
    assert exempted(model, "beit") == {
        name for name, tensor in tensors.items() if tensor.ndim == 1 or name.endswith(".bias")
    }


class Differing(nn.Module):
    """Holds one tensor for every way in which the three rules differ."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.inner = nn.Module()
        self.inner.bias = nn.Parameter(torch.ones(2, 2))
        self.bias_table = nn.Parameter(torch.ones(2, 2))
        self.batch = nn.BatchNorm1d(2, affine=True)
        self.final = nn.LayerNorm((2, 2))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm", {"scale", "batch.weight", "batch.bias"}),
        ("beit", {"batch.weight", "batch.bias", "inner.bias", "final.bias"}),
        ("transformers", {"inner.bias", "bias_table", "batch.bias", "final.weight", "final.bias"}),
    ],
)
def test_the_rules_differ_where_their_sources_do(name: str, expected: set[str]) -> None:
    assert exempted(Differing(), name) == expected


def test_a_rule_goes_by_a_tied_tensors_first_name_and_patterns_by_any() -> None:
    model = nn.ModuleDict({"plain": nn.Linear(2, 2, bias=False), "norm": nn.Linear(2, 2, bias=False)})
    model["norm"].weight = model["plain"].weight
    assert exempted(model, "transformers") == set()
    assert exempted(model, ["norm"]) == {"plain.weight"}


def test_a_rule_of_the_spec_pierces_a_named_mask() -> None:
    rules = [*RULE, {"match": "final", "weight_decay": 0.2, "override": ["no_decay"]}]
    assert "final.weight" not in exempted(Differing(), "transformers", rule=rules)


def test_classes_must_be_known_for_the_rule_that_asks_for_them() -> None:
    weak = Inventory("file", (ParamInfo("norm.weight", (2,), "float32", "norm"),), (), weak=True)
    with pytest.raises(DiagnosticError) as caught:
        exempted(weak, "transformers")
    assert [(item.code, item.where) for item in caught.value.diagnostics] == [("FP207", "optimizer.no_decay")]
    assert exempted(weak, "timm") == {"norm.weight"}


@pytest.mark.parametrize(
    ("value", "code", "help"),
    [
        ("tim", "FP105", 'did you mean "timm"?'),
        ("@bias", "FP105", 'rules: "beit", "timm", "transformers"; patterns: no_decay = ["@bias"]'),
        (["@bias", 3], "FP103", 'put it in quotes: "3"'),
    ],
)
def test_what_is_neither_a_rule_nor_patterns_is_refused(value: Any, code: str, help: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load_spec({"optimizer": {"no_decay": value}})
    (found,) = caught.value.diagnostics
    assert (found.code, found.help) == (code, help)


def test_a_list_that_holds_the_name_of_a_rule_is_a_list_of_patterns() -> None:
    model = nn.ModuleDict({"timm": nn.Linear(2, 2), "other": nn.Linear(2, 2)})
    assert exempted(model, ["timm"]) == {"timm.weight", "timm.bias"}


class Listing(nn.Module):
    """A model that lists what has no weight decay, one of it by a wildcard."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.position = nn.Embedding(3, 2), nn.Parameter(torch.zeros(1, 3, 2))
        self.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))

    def no_weight_decay(self) -> set[str]:
        """Return names, one with a wildcard, one of nothing."""
        return {"position", "blocks.1.*", "cls_token"}


@pytest.mark.parametrize("rule", ["timm", "beit"])
def test_a_models_own_list_is_spared_by_the_rules_that_ask_for_it(rule: str) -> None:
    assert exempted(Listing(), rule) == {"position", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias"}
    assert "position" not in exempted(Listing(), "transformers")
