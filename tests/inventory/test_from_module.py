"""Laws of the inventory of a live model, over generated module trees."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import nn

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.structure import is_under
from tests.inventory.trees import trees


@given(trees())
def test_every_name_is_listed_in_registration_order(model: nn.Module) -> None:
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert [info.name for info in inventory_of(model).params] == names


@given(trees())
def test_canonical_records_are_the_tensors_that_torch_names(model: nn.Module) -> None:
    inventory = inventory_of(model)
    assert [info.name for info in inventory.tensors] == [name for name, _ in model.named_parameters()]
    assert sum(info.numel for info in inventory.tensors) == sum(p.numel() for p in model.parameters())


@given(trees())
def test_an_alias_names_the_first_name_of_the_very_same_tensor(model: nn.Module) -> None:
    tensors = dict(model.named_parameters(remove_duplicate=False))
    for info in inventory_of(model).params:
        twins = [name for name, tensor in tensors.items() if tensor is tensors[info.name]]
        assert info.alias_of == (None if twins[0] == info.name else twins[0])


@given(trees())
def test_modules_are_those_of_torch_and_own_their_parameters(model: nn.Module) -> None:
    inventory = inventory_of(model)
    modules = dict(model.named_modules(remove_duplicate=False))
    assert [info.path for info in inventory.modules] == list(modules)
    for info in inventory.params:
        assert info.name.removeprefix(info.module + ".") in modules[info.module]._parameters


@given(trees())
def test_shapes_classes_and_buffers_are_the_modules_own(model: nn.Module) -> None:
    inventory = inventory_of(model)
    modules = dict(model.named_modules(remove_duplicate=False))
    tensors = dict(model.named_parameters(remove_duplicate=False))
    for info in inventory.params:
        assert (info.shape, info.dtype) == (tuple(tensors[info.name].shape), "float32")
    for info in inventory.modules:
        assert info.classes[0] == type(modules[info.path]).__name__
        assert info.buffers == tuple(modules[info.path]._buffers)


@given(trees())
def test_roles_agree_with_the_nodes_that_they_name(model: nn.Module) -> None:
    inventory = inventory_of(model)
    for role, nodes in inventory.role_nodes.items():
        named = {info.name for info in inventory.params if any(is_under(info.name, node) for node in nodes)}
        assert named == {info.name for info in inventory.params if role in info.roles}, role


@given(trees())
def test_a_parameter_has_a_layer_or_a_stage_exactly_when_it_is_in_a_stack(model: nn.Module) -> None:
    """A layer holds its own module and what stands between it and the one before."""
    inventory = inventory_of(model)
    stacks = {stack.path: stack for stack in inventory.stacks}
    for info in inventory.params:
        assert (info.stack is None) == (info.layer is None and info.stage is None)
        if info.layer is not None:
            assert any(is_under(info.name, path) for path in stacks[info.stack].spans[info.layer])
        if info.stage is not None:
            assert any(is_under(info.name, path) for path in stacks[info.stack].stages[info.stage])


def test_classes_list_the_bases_up_to_module() -> None:
    class Special(nn.LayerNorm):
        pass

    inventory = inventory_of(nn.Sequential(Special(2), nn.BatchNorm1d(2)))
    assert inventory.modules[1].classes == ("Special", "LayerNorm")
    assert inventory.modules[2].classes == ("BatchNorm1d", "_BatchNorm", "_NormBase")
    assert inventory.modules[2].buffers == ("running_mean", "running_var", "num_batches_tracked")


def test_integer_parameters_are_listed() -> None:
    model = nn.Module()
    model.register_parameter("packed", nn.Parameter(torch.zeros(4, dtype=torch.int8), requires_grad=False))
    (info,) = inventory_of(model).params
    assert (info.dtype, info.nbytes) == ("int8", 4)


def test_a_model_that_holds_itself_is_listed_once() -> None:
    model = nn.Linear(2, 2)
    model.again = model
    assert [info.name for info in inventory_of(model).params] == ["weight", "bias"]


@pytest.mark.parametrize(
    ("model", "code", "named"),
    [(nn.ReLU(), "FP166", "ReLU"), (nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(2)), "FP167", "1.weight")],
)
def test_a_model_without_usable_parameters_is_refused(model: nn.Module, code: str, named: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        inventory_of(model)
    (problem,) = caught.value.diagnostics
    assert problem.code == code
    assert f"`{named}`" in problem.message
