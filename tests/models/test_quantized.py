"""Quantised weights, known before they are loaded and by what they are, not by an integer format."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from freezeplan.api import compile_plan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.sources import inventory_for
from tests.models.sources import TASKS, spec_of

LLAMA = {"model_type": "llama", "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
LLAMA |= {"num_hidden_layers": 2, "intermediate_size": 16, "vocab_size": 20}
ALL = {"rule": [{"match": "**", "state": "trainable"}]}


def quantized(
    settings: dict[str, Any], tasks: list[dict] | None = None, **config: Any
) -> dict[str, str | None]:
    table = {"config": LLAMA | {"quantization_config": settings} | config}
    table |= {} if tasks else {"class": "AutoModelForCausalLM"}
    infos = inventory_for(spec_of(table, tasks)).params
    return {info.name: info.quantized for info in infos if info.quantized}


def test_a_checkpoint_is_known_to_be_quantised_from_its_config() -> None:
    found = quantized({"quant_method": "bitsandbytes", "load_in_4bit": True})
    assert len(found) == 14 and set(found.values()) == {"bitsandbytes"}
    assert all(name.startswith("model.layers.") and name.endswith("_proj.weight") for name in found)


def test_what_the_config_leaves_out_stays_plain() -> None:
    found = quantized({"quant_method": "fp8", "modules_to_not_convert": ["lm_head", "model.layers.0"]})
    assert len(found) == 7 and all(name.startswith("model.layers.1.") for name in found)
    assert quantized({"quant_method": "mxfp4", "dequantize": True}) == {}


def test_a_backbone_under_tasks_is_known_by_its_names_there() -> None:
    found = quantized({"quant_method": "awq"}, TASKS)
    assert len(found) == 14 and all(name.startswith("backbone.layers.") for name in found)


def test_stacked_experts_are_what_mxfp4_packs() -> None:
    found = quantized({"quant_method": "mxfp4"}, model_type="mixtral", num_local_experts=2, head_dim=8)
    assert found and all(".experts." in name for name in found)


def test_to_train_them_is_refused_before_anything_is_loaded() -> None:
    settings = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    spec = spec_of({"config": LLAMA | {"quantization_config": settings}, "class": "AutoModelForCausalLM"})
    with pytest.raises(DiagnosticError) as caught:
        compile_plan(inventory_for(spec), spec)
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.where) == ("FP411", "rule[1].state")
    assert "`model.layers.0.self_attn.q_proj.weight`" in problem.message and "13 more" in problem.message


def test_float8_weights_are_quantised() -> None:
    model = nn.Linear(4, 4)
    model.weight = nn.Parameter(torch.zeros(4, 4).to(torch.float8_e4m3fn), requires_grad=False)
    with pytest.raises(DiagnosticError, match="FP411.*`weight` is quantised"):
        compile_plan(model, ALL)


@pytest.mark.parametrize("package", ["bitsandbytes.nn.modules", "torchao.dtypes"])
def test_a_tensor_of_a_library_that_packs_is_quantised_in_any_format(package: str) -> None:
    kind = type("Params4bit", (nn.Parameter,), {"__module__": package})
    model = nn.Linear(4, 4)
    model.weight = kind(torch.zeros(8, 1, dtype=torch.bfloat16), requires_grad=False)
    with pytest.raises(DiagnosticError, match=r"`weight` is quantised \(Params4bit\)"):
        compile_plan(model, ALL)


def test_a_module_of_a_library_that_packs_holds_plain_biases() -> None:
    kind = type("HQQLinear", (nn.Linear,), {"__module__": "hqq.core.quantize"})
    plan = compile_plan(
        kind(4, 4),
        {"rule": [{"match": "weight", "state": "frozen"}, {"match": "bias", "state": "trainable"}]},
    )
    assert plan.names(trainable=True) == ("bias",)
    with pytest.raises(DiagnosticError, match="part of a HQQLinear"):
        compile_plan(kind(4, 4), ALL)
