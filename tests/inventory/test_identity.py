"""The names of a plan are the live model's tensors: each of them, none twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import freezeplan
from freezeplan import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.identity import named_parameters

FROZEN = {"rule": [{"match": "**", "state": "frozen"}]}


def collided(width: int) -> nn.Module:
    model = nn.Module()
    model.a = nn.Sequential(nn.Linear(2, 2))
    setattr(model, "a.0", nn.Linear(width, width))
    return model


@pytest.mark.parametrize("width", [2, 3])
def test_two_tensors_of_one_name_are_an_error_that_tells_them_apart(width: int) -> None:
    with pytest.raises(DiagnosticError) as caught:
        inventory_of(collided(width))
    (problem,) = caught.value.diagnostics
    assert problem.code == "FP182"
    assert problem.message.endswith("`a.0.weight`: `a.0.weight`, `'a.0'.weight`")
    assert problem.notes == ("`a.0.bias`",)


def test_a_live_model_that_gained_a_second_tensor_of_a_name_is_refused() -> None:
    model = nn.Module()
    model.a = nn.Sequential(nn.Linear(2, 2))
    plan = freezeplan.compile_plan(model, FROZEN)
    setattr(model, "a.0", nn.Linear(2, 2))
    for check in (freezeplan.apply_freeze, freezeplan.verify):
        with pytest.raises(DiagnosticError) as caught:
            check(model, plan)
        assert caught.value.diagnostics[0].code == "FP182"


class Hidden(nn.Module):
    """A model that says it has a tensor which stands in none of its modules."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(2, 2)
        self.extra = [nn.Parameter(torch.zeros(2))]

    def parameters(self, recurse: bool = True) -> Any:
        yield from super().parameters(recurse)
        yield from self.extra


def test_a_tensor_without_a_name_is_an_error() -> None:
    with pytest.raises(DiagnosticError) as caught:
        inventory_of(Hidden())
    assert "cannot name" in caught.value.diagnostics[0].message


def dotted() -> nn.Module:
    model = nn.Module()
    setattr(model, "conv.0", nn.Linear(2, 2))
    setattr(model, "conv.1", nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    model.inner = nn.ModuleDict({"task a": nn.Linear(2, 2), "[x]": nn.Linear(2, 2)})
    setattr(model.inner, "deep.er", nn.LayerNorm(2))
    return model


def test_children_with_dots_have_the_names_that_torch_gives_them() -> None:
    model = dotted()
    found = inventory_of(model)
    assert [info.name for info in found.params] == [name for name, _ in model.named_parameters()]
    assert named_parameters(model) == dict(model.named_parameters())


@pytest.mark.parametrize("match", ["'conv.1'", "conv.1", "'conv.1'.0.*"])
def test_a_child_with_dots_is_selected_and_frozen_on_the_live_model(match: str) -> None:
    model = dotted()
    rules = [{"match": "**", "state": "frozen"}, {"match": match, "state": "trainable"}]
    plan = freezeplan.compile_plan(model, {"rule": rules})
    freezeplan.build_param_groups(model, plan)
    freezeplan.verify(model, plan)
    live = [name for name, tensor in model.named_parameters() if tensor.requires_grad]
    assert live == ["conv.1.0.weight", "conv.1.0.bias"]
    assert not getattr(model, "conv.0").training
    assert getattr(model, "conv.1")[1].training
