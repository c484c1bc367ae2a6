"""`@adapters` against what each of PEFT's methods trains, by identity of tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import freezeplan
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.names import canonical_parameters

pytest.importorskip("peft")
from benchmarks.peft_adapters import Case, cases, measured, tiny

pytestmark = pytest.mark.filterwarnings("ignore")
CASES = {case.name: case for case in cases()}
# Each keeps, shares or freezes tensors in a way of its own.
TELLING = (
    *("ADAPTION_PROMPT", "CARTRIDGE", "CPT", "LORA", "SHADOW", "TINYLORA", "UNILORA", "VBLORA", "XLORA"),
    *(name for name in CASES if name.startswith("lora, ")),
)
ADAPTERS = {"rule": [{"match": "**", "state": "frozen"}, {"match": "@adapters", "state": "trainable"}]}


@pytest.mark.parametrize("name", TELLING)
def test_the_role_is_what_peft_trains(name: str) -> None:
    assert str(measured(CASES[name])).split("  ")[-1].strip() == "equal"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(CASES) - set(TELLING)))
def test_the_role_is_what_every_other_method_trains(name: str) -> None:
    assert measured(CASES[name]).verdict in ("equal", "refused", "absent")


def adapted(name: str) -> Any:
    case: Case = CASES[name]
    return case.adapt(tiny(case.model))


def test_two_wrappers_around_one_module_have_names_of_their_own() -> None:
    names = [name for name, _, _ in canonical_parameters(adapted("lora, two target parameters"))]
    inside = [name for name in names if "layers.0" in name and "lora_A" in name]
    start = "model.layers.0.mlp.experts"
    assert sorted(inside) == [
        f"{start}.{name}.lora_A.default.weight" for name in ("down_proj", "gate_up_proj")
    ]
    assert len(names) == len(set(names))


def test_freezing_everything_freezes_both_of_two_wrappers() -> None:
    model = adapted("lora, two target parameters")
    freezeplan.build_param_groups(model, ADAPTERS)
    freezeplan.apply_freeze(model, freezeplan.compile_plan(model, {"rule": ADAPTERS["rule"][:1]}))
    assert not any(tensor.requires_grad for tensor in model.parameters())


def adapters_of(model: Any) -> set[str]:
    return {info.name for info in inventory_of(model).params if "adapters" in info.roles}


def test_the_role_does_not_depend_on_an_earlier_plan() -> None:
    model = adapted("CPT")
    before = adapters_of(model)
    freezeplan.apply_freeze(model, freezeplan.compile_plan(model, {"rule": ADAPTERS["rule"][:1]}))
    assert adapters_of(model) == before == {"prompt_encoder.default.delta_embedding.weight"}


def test_the_role_follows_the_active_adapter_after_a_plan() -> None:
    model = adapted("lora, a second one inactive")
    freezeplan.build_param_groups(model, ADAPTERS)
    assert all(".default." in name for name in adapters_of(model))
    model.set_adapter("second")
    assert all(".second." in name for name in adapters_of(model))


def test_adapters_that_were_loaded_to_predict_with_are_still_named() -> None:
    model = adapted("LORA")
    before = adapters_of(model)
    for tensor in model.parameters():
        tensor.requires_grad_(False)
    assert adapters_of(model) == before


def test_tensors_that_layers_share_are_trained_once() -> None:
    model = adapted("VBLORA")
    groups = freezeplan.build_param_groups(model, ADAPTERS)
    held = [tensor for group in groups for _, tensor in group["params"]]
    assert len(held) == len({id(tensor) for tensor in held})
    assert any(tensor is bank for bank in model.base_model.vblora_vector_bank.values() for tensor in held)
    assert torch.optim.SGD(groups, lr=0.1)
