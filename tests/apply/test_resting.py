"""Weights that never train rest in 16 bits: the model computes as one whose weights were rounded once."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from accelerate.utils import set_seed

from freezeplan.api import compile_plan
from freezeplan.apply import apply_freeze, build_optimizer, enter_phase, verify
from freezeplan.apply.fingerprints import fingerprints, sha256
from freezeplan.apply.formats import computes_in
from freezeplan.apply.releasing import release
from freezeplan.apply.tensors import parameters_by_name
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.plan.records import Plan
from tests.prefix.architectures import ARCHITECTURES, Architecture, build, make_batch

NAMED = ("bert", "vit", "gpt2", "llama", "resnet")
"""One of each family is tried every time, all others with the slow tests."""
ROWS = [
    pytest.param(item, id=item.label, marks=() if item.label in NAMED else pytest.mark.slow)
    for item in ARCHITECTURES
]


def small() -> torch.nn.Sequential:
    """Return a small model whose parts touch their weights in different ways."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Embedding(10, 8),
        torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        torch.nn.LSTM(8, 4, batch_first=True),
    )


def plan_for(
    model: torch.nn.Module, trained: list[str], narrow: str | None = "bfloat16", **more: Any
) -> Plan:
    """Return a plan that trains some of a model and lets the rest of it rest."""
    rules = [{"match": "**", "state": "frozen"}, {"match": trained, "state": "trainable"}]
    spec = {"model": {"frozen_dtype": narrow} if narrow else {}, "rule": rules, **more}
    return compile_plan(inventory_of(model), spec)


def rounded(model: torch.nn.Module, plan: Plan) -> torch.nn.Module:
    """Return a copy in float32 whose frozen weights hold the rounded numbers."""
    twin = copy.deepcopy(model)
    tensors = parameters_by_name(twin)
    for name in plan.at_rest:
        tensors[name].data = tensors[name].data.to(getattr(torch, plan.frozen_dtype or "")).float()
    return twin


def outcome(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return logits, and the gradients of what trains, from one random state."""
    set_seed(3)
    logits = model(task="topic", **batch)
    logits.square().sum().backward()
    return [logits.detach(), *(tensor.grad for tensor in model.parameters() if tensor.grad is not None)]


@pytest.mark.parametrize("architecture", ROWS)
def test_a_model_computes_as_one_whose_frozen_weights_were_rounded(architecture: Architecture) -> None:
    model = build(architecture)
    inventory = inventory_of(model)
    # Frozen layers stand below and above what trains: gradients pass through those above.
    middle = [stack.layers[stack.length // 2] for stack in inventory.stacks if stack.main]
    plan = plan_for(model, ["heads", *middle])
    twin = rounded(model, plan)
    apply_freeze(twin, plan_for(model, ["heads", *middle], None))
    apply_freeze(model, plan)
    resting = [tensor for tensor in model.parameters() if computes_in(tensor) is not None]
    assert len(resting) == len(plan.at_rest) > 0
    assert {tensor.detach().dtype for tensor in resting} == {torch.bfloat16}
    batch = make_batch(architecture.reads, [12, 7, 12], 1)
    found, expected = outcome(model, batch), outcome(twin, batch)
    assert len(found) == len(expected) > 1
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_computes_the_same_from_what_rests(precision: str) -> None:
    (bert,) = [item for item in ARCHITECTURES if item.label == "bert"]
    model = build(bert)
    plan = plan_for(model, ["heads", "backbone.encoder.layer.1"])
    twin = rounded(model, plan)
    apply_freeze(twin, plan_for(twin, ["heads", "backbone.encoder.layer.1"], None))
    apply_freeze(model, plan)
    model.precision = twin.precision = precision
    batch = make_batch(bert.reads, [12, 7, 12], 1)
    found, expected = outcome(model, batch), outcome(twin, batch)
    assert found[0].dtype != torch.float32
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("narrow", ["bfloat16", "float16"])
def test_whatever_touches_a_resting_weight_gets_the_numbers_that_rest(narrow: str) -> None:
    model = small()
    plan = plan_for(model, ["1.linear1"], narrow)
    twin = rounded(model, plan)
    apply_freeze(model, plan)
    apply_freeze(twin, plan_for(twin, ["1.linear1"], None))
    batch = torch.randint(0, 10, (3, 5))
    sides = []
    for side in (model, twin):
        torch.manual_seed(1)
        out, _ = side(batch)
        out.sum().backward()
        sides.append([out.detach(), side[1].linear1.weight.grad])
    # torch has a faster attention for tensors of no class of their own, which rounds otherwise.
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(*sides, strict=True))
    copied = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert fingerprints(copied) == fingerprints(model)
    assert {
        name: item.dtype for name, item in copied.state_dict().items() if "linear1" not in name
    }.keys() == (set(plan.at_rest))
    assert (
        copied[0].weight.detach().dtype == getattr(torch, narrow) and copied[0].weight.dtype == torch.float32
    )


def test_a_backward_pass_keeps_no_wide_copies_of_what_rests() -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(4)))
    apply_freeze(model, plan_for(model, ["0"]))
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda item: kept.append(item) or item, lambda item: item):
        out = model(torch.ones(2, 64))
    assert all(item.numel() < 64 * 64 for item in kept)
    out.sum().backward()
    assert model[0].weight.grad is not None and model[0].weight.grad.abs().sum() > 0


def test_what_a_later_phase_trains_stays_as_it_is_and_the_rest_never_moves() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    thaw = {"match": "1", "state": "trainable"}
    phases = [{"name": "head", "epochs": 1}, {"name": "more", "epochs": 1, "rule": [thaw]}]
    plan = plan_for(model, ["2"], phase=phases)
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, 0)
    assert [computes_in(tensor) for tensor in model[0].parameters()] == [torch.float32] * 2
    assert [computes_in(tensor) for tensor in model[1].parameters()] == [None] * 2
    before = fingerprints(model)
    for phase in (0, 1):
        enter_phase(model, optimizer, plan, phase)
        verify(model, plan, optimizer, phase)
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            model(torch.ones(2, 4)).sum().backward()
            optimizer.step()
    after = fingerprints(model)
    assert {name for name in before.parameters if before.parameters[name] == after.parameters[name]} == set(
        plan.at_rest
    )


def test_weights_that_are_put_in_another_place_still_rest_and_those_that_do_not_are_found() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    plan = plan_for(model, ["1"])
    apply_freeze(model, plan)
    stored = sha256(model[0].weight)
    model.to(torch.device("cpu")).float()
    model.load_state_dict({name: item.float() for name, item in model.state_dict().items()})
    assert sha256(model[0].weight) == stored
    verify(model, plan)
    model[0].weight = torch.nn.Parameter(torch.zeros(4, 4), requires_grad=False)
    with pytest.raises(DiagnosticError) as caught:
        verify(model, plan)
    assert any("does not rest in bfloat16" in note for note in caught.value.diagnostics[0].notes)


def test_a_model_that_is_released_has_ordinary_weights_again() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    weight = model[0].weight
    apply_freeze(model, plan_for(model, ["1"]))
    assert model[0].weight is weight
    release(model)
    assert type(weight) is torch.nn.Parameter and weight.dtype == weight.detach().dtype == torch.float32


def test_numbers_that_a_format_cannot_hold_are_refused_before_anything_changes() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    model[0].weight.data[0, 0] = 1e6
    with pytest.raises(DiagnosticError) as caught:
        apply_freeze(model, plan_for(model, ["1"], "float16"))
    assert caught.value.diagnostics[0].code == "FP438"
    assert "holds numbers beyond 65504" in caught.value.diagnostics[0].notes[0]
    assert all(type(tensor) is torch.nn.Parameter and tensor.requires_grad for tensor in model.parameters())
    apply_freeze(model, plan_for(model, ["1"]))


def test_a_tensor_of_a_class_of_its_own_is_not_exchanged() -> None:
    class Own(torch.nn.Parameter):
        pass

    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    model[0].weight = Own(torch.zeros(4, 4))
    with pytest.raises(DiagnosticError) as caught:
        apply_freeze(model, plan_for(model, ["1"]))
    assert "belongs to a Own" in caught.value.diagnostics[0].notes[0]
