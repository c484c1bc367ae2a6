"""Tensors under torch's parametrizations keep their names, roles and plan, and train as what they are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import freezeplan
from freezeplan.apply import build_optimizer
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.header import header_inventory
from tests.apply.wrapping import layers_of, tiny, train, values

# What parametrizes the first dense layer of every layer, and the names that its weight then has.
KINDS: dict[str, tuple[Callable[[nn.Module], Any], tuple[str, ...]]] = {
    "weight norm": (parametrizations.weight_norm, ("weight.original0", "weight.original1")),
    "orthogonal": (parametrizations.orthogonal, ("weight",)),
    "spectral norm": (parametrizations.spectral_norm, ("weight",)),
}
DENSE = "intermediate.dense"


def parametrized(kind: str) -> Any:
    """Return a tiny BERT with one parametrized matrix in each layer."""
    model = tiny("bert")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in layers_of(model):
            KINDS[kind][0](layer.get_submodule(DENSE))
    return model


def spec(match: Any) -> dict[str, Any]:
    """Return a spec that trains what matches and freezes the rest."""
    rules = [{"match": "**", "state": "frozen"}, {"name": "some", "match": match, "state": "trainable"}]
    return {"optimizer": {"lr": 1e-2, "no_decay": ["@bias", "@norm"]}, "rule": rules}


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_roles_are_those_of_the_plain_model(kind: str) -> None:
    plain, made = inventory_of(tiny("bert")), inventory_of(parametrized(kind))
    roles = {info.name: (info.roles, info.stack, info.layer) for info in made.params}
    for info in plain.params:
        parts = KINDS[kind][1] if info.name.endswith(f"{DENSE}.weight") else ("weight",)
        for part in parts:
            name = f"{info.name.removesuffix('weight')}{part}" if len(parts) > 1 else info.name
            assert roles.pop(name) == (info.roles, info.stack, info.layer)
    assert roles == {}
    assert made.stacks == plain.stacks
    classes = {info.path: info.classes for info in made.modules}
    assert all(classes[info.path] == info.classes for info in plain.modules)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("match", [f"@layers[-1].{DENSE}.weight", "@layers[-2:]"])
def test_a_rule_about_the_plain_tensor_trains_what_it_is_made_of(kind: str, match: str) -> None:
    model = parametrized(kind)
    plan = freezeplan.compile_plan(model, spec(match))
    plain = freezeplan.compile_plan(tiny("bert"), spec(match))
    named = {name.partition(".original")[0] for name in plan.names(trainable=True)}
    assert named == set(plain.names(trainable=True))
    freezeplan.apply_freeze(model, plan)
    optimizer = build_optimizer(model, plan)
    freezeplan.verify(model, plan, optimizer)
    assert train("bert", model, optimizer) == set(plan.names(trainable=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_parametrized_tensor_and_its_buffers_stay(kind: str) -> None:
    model = parametrized(kind)
    plan = freezeplan.compile_plan(model, spec("@heads"))
    freezeplan.apply_freeze(model, plan)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    assert train("bert", model, build_optimizer(model, plan)) == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())


class LowRank(nn.Module):
    """A parametrization with tensors of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Parameter(torch.ones(2, 1)), nn.Parameter(torch.ones(1, 2))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.left @ self.right


def test_tensors_that_belong_to_the_parametrization_keep_their_place() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    parametrize.register_parametrization(model[0], "weight", LowRank())
    assert set(values(model)) == {
        "0.weight",
        "0.bias",
        "0.parametrizations.weight.0.left",
        "0.parametrizations.weight.0.right",
    }
    assert freezeplan.compile_plan(model, spec("0.weight")).names(trainable=True) == ("0.weight",)


def test_a_file_of_tensors_gives_the_same_names(tmp_path: Path) -> None:
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(2, 2)), parametrizations.orthogonal(nn.Linear(2, 2))
    )
    tensors = {name: value.detach().clone() for name, value in model.named_parameters()}
    save_file(tensors, tmp_path / "model.safetensors")
    found = header_inventory(tmp_path / "model.safetensors", "file")
    assert {info.name for info in found.params} == set(values(model))


class Parametrization(nn.Module):
    """A model of one's own whose parts have the names that torch uses."""

    def __init__(self) -> None:
        super().__init__()
        self.parametrizations = nn.ModuleDict({"weight": nn.ParameterDict({"original": torch.zeros(2)})})


def test_modules_that_are_only_called_so_keep_their_names() -> None:
    assert list(values(Parametrization())) == ["parametrizations.weight.original"]
