"""Wrappers' prefixes are taken off names, and only wrappers'."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.names import canonical_parameters, class_names


def block() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))


def inner_checkpointed() -> nn.Module:
    model = block()
    model[0] = checkpoint_wrapper(model[0])
    return model


WRAPPED = {
    "data parallel": lambda: nn.DataParallel(block()),
    "compiled": lambda: torch.compile(block()),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(block()),
    "checkpointed": lambda: checkpoint_wrapper(block()),
    "checkpointed inside": inner_checkpointed,
    "both": lambda: torch.compile(nn.DataParallel(inner_checkpointed())),
}


@pytest.mark.parametrize("make", WRAPPED.values(), ids=WRAPPED)
def test_a_wrapped_model_has_the_inventory_of_the_model(make) -> None:
    plain, wrapped = inventory_of(block()), inventory_of(make())
    assert wrapped.params == plain.params
    assert [(info.path, info.classes) for info in wrapped.modules] == [
        (info.path, info.classes) for info in plain.modules
    ]


def test_canonical_names_lead_to_the_live_tensors() -> None:
    wrapped = WRAPPED["both"]()
    tensors = dict(wrapped.named_parameters())
    pairs = [(name, tensor) for name, _, tensor in canonical_parameters(wrapped)]
    assert [name for name, _ in pairs] == [name for name, _ in block().named_parameters()]
    assert [id(tensor) for _, tensor in pairs] == [id(tensor) for tensor in tensors.values()]


@pytest.mark.parametrize("name", ["module", "_orig_mod", "base_layer", "base_model", "_fsdp_wrapped_module"])
def test_a_submodule_of_that_name_is_kept(name: str) -> None:
    model = nn.Module()
    model.add_module(name, nn.Linear(2, 2))
    assert [info.name for info in inventory_of(model).params] == [f"{name}.weight", f"{name}.bias"]


class DataParallel(nn.Module):
    """A model of one's own that has a wrapper's name but is none."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(1, 1)


def test_a_class_that_is_only_named_like_a_wrapper_is_kept() -> None:
    assert [info.name for info in inventory_of(DataParallel()).params] == ["module.weight", "module.bias"]


def adapted() -> nn.Module:
    """Build what PEFT builds: PeftModel > LoraModel > the model, with a layer that wraps its base layer."""
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    layer = type("BaseTunerLayer", (nn.Module,), {"__module__": "peft.tuners"})()
    layer.base_layer, layer.lora_A = model[0], nn.ModuleDict({"default": nn.Linear(2, 1, bias=False)})
    layer.adapter_layer_names = ("lora_A", "lora_B")
    model[0] = layer
    tuner = type("BaseTuner", (nn.Module,), {"__module__": "peft.tuners"})()
    tuner.model = model
    root = type("PeftModel", (nn.Module,), {"__module__": "peft.peft_model"})()
    root.base_model = tuner
    return root


def test_adapters_stand_beside_the_layer_that_they_wrap() -> None:
    inventory = inventory_of(adapted())
    assert [info.name for info in inventory.params] == [
        "0.weight", "0.bias", "0.lora_A.default.weight", "1.weight", "1.bias",
    ]  # fmt: skip
    assert inventory.modules[1].classes == ("Linear",)


def test_adapters_are_a_role_where_their_layer_names_them() -> None:
    assert inventory_of(adapted()).role_nodes["adapters"] == ("0.lora_A",)


def test_the_class_that_fully_shard_makes_is_the_models_own() -> None:
    marker = type("FSDPModule", (), {})
    sharded = type("FSDPLinear", (marker, nn.Linear), {})(1, 1)
    assert class_names(sharded) == ("Linear",)
