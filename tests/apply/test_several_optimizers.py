"""Several optimizers in one plan: who has what, and that they run, resume and thaw as one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import freezeplan
from freezeplan.apply import build_optimizer, enter_phase, parameter_groups, set_rates, verify
from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.diff import diff_records
from freezeplan.plan.document import to_record
from freezeplan.plan.records import Plan
from tests.apply.phased import Trunk, freezes, phase, thaws

MUON = {"name": "muon", "match": ["low.0.weight", "top.0.weight"], "lr": 0.02, "weight_decay": 0.2}
PHASES = [
    phase("head"),
    phase("top", thaws("top")),
    phase("all", thaws("low", lr_mult=0.5), freezes("head")),
    phase("top again", freezes("low"), thaws("head")),
]


def spec_of(**optimizer: Any) -> dict[str, Any]:
    """Return a spec in phases over the tables of optimizers."""
    rules = [freezes("**"), thaws("head", lr_mult=2.0)]
    tables = {"name": "adamw", "lr": 0.01, "no_decay": ["@bias"], **optimizer}
    return {"optimizer": tables, "rule": rules, "phase": PHASES}


def run(model: nn.Module, plan: Plan, optimizer: torch.optim.Optimizer, phases: range) -> list[set[str]]:
    """Train through phases; returns the names that moved in each."""
    moved = []
    for index in phases:
        enter_phase(model, optimizer, plan, index)
        verify(model, plan, optimizer, index)
        start = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
        for step in range(3):
            torch.manual_seed(100 * index + step)
            set_rates(optimizer, plan, index, 1.0 - step / 4)
            model.train()
            optimizer.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
        moved.append({name for name, now in model.named_parameters() if not torch.equal(now, start[name])})
    return moved


def test_each_tensor_has_one_optimizer_and_moves_in_its_phases() -> None:
    model = Trunk()
    plan = freezeplan.compile_plan(model, spec_of(muon=MUON))
    optimizer = build_optimizer(model, plan)
    first, second = optimizer.optimizers
    assert [type(first), type(second)] == [torch.optim.AdamW, torch.optim.Muon]
    held = {name for group in second.param_groups for name in group["param_names"]}
    assert held == set(MUON["match"])
    assert run(model, plan, optimizer, range(4)) == [set(plan.names(i, trainable=True)) for i in range(4)]


def test_base_values_are_the_tables_own() -> None:
    """The rate of a tensor is its optimizer's base rate times the rule's; options are not handed down."""
    plan = freezeplan.compile_plan(Trunk(), spec_of(muon=MUON, eps=1e-6))
    rates = {name: group.lr[2] for group in plan.groups for name in group.members}
    assert (rates["low.0.weight"], rates["low.0.bias"], rates["top.0.weight"]) == (0.01, 0.005, 0.02)
    by_label = {group.optimizer: group for group in plan.groups}
    assert by_label["muon"].weight_decay[2] == 0.2 and by_label["muon"].written == ()
    assert by_label[""].written == ("eps",)


def test_two_alike_are_as_one_to_the_bit() -> None:
    ends = []
    for tables in ({}, {"second": {"name": "adamw", "match": "top"}}):
        model = Trunk()
        plan = freezeplan.compile_plan(model, spec_of(**tables))
        run(model, plan, build_optimizer(model, plan), range(4))
        ends.append(model.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_state_that_is_saved_and_loaded_goes_on_to_the_same_bits(stop: int) -> None:
    whole, halves = Trunk(), Trunk()
    plan = freezeplan.compile_plan(whole, spec_of(muon=MUON))
    run(whole, plan, build_optimizer(whole, plan), range(4))
    before = build_optimizer(halves, plan)
    run(halves, plan, before, range(stop))
    saved = copy.deepcopy(before.state_dict())
    after = build_optimizer(halves, plan)
    enter_phase(halves, after, plan, stop - 1)
    after.load_state_dict(saved)
    run(halves, plan, after, range(stop, 4))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), halves.parameters(), strict=True))


def test_a_state_of_other_groups_is_refused() -> None:
    model = Trunk()
    optimizer = build_optimizer(model, freezeplan.compile_plan(model, spec_of(muon=MUON)))
    saved = optimizer.state_dict()
    saved["param_groups"].pop()
    with pytest.raises(ValueError, match="number of parameter groups"):
        optimizer.load_state_dict(saved)


def test_a_list_of_ones_own_optimizers_will_do() -> None:
    model = Trunk()
    plan = freezeplan.compile_plan(model, spec_of(muon=MUON))
    groups = parameter_groups(model, plan)
    muon = torch.optim.Muon([group for group in groups if group["optimizer"] == "muon"])
    rest = torch.optim.AdamW([group for group in groups if not group["optimizer"]])
    enter_phase(model, [rest, muon], plan, "all")
    verify(model, plan, [muon, rest], "all")
    assert {group["lr"] for group in muon.param_groups} == {0.01, 0.02}
    with pytest.raises(DiagnosticError, match="does not hold the model.s tensors"):
        verify(model, plan, [rest], "all")


def test_one_optimizer_over_the_groups_of_two_is_refused() -> None:
    model = Trunk()
    plan = freezeplan.compile_plan(model, spec_of(muon=MUON))
    optimizer = torch.optim.AdamW(parameter_groups(model, plan))
    for refuse in (lambda: enter_phase(model, optimizer, plan, 0), lambda: verify(model, plan, optimizer)):
        with pytest.raises(DiagnosticError, match="one AdamW holds the groups of `optimizer.*`"):
            refuse()


def test_a_scheduler_of_torch_scales_all_of_them() -> None:
    model = Trunk()
    plan = freezeplan.compile_plan(model, spec_of(muon=MUON))
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, "all")
    full = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    optimizer.step()
    schedule.step()
    halves = [group["lr"] for part in optimizer.optimizers for group in part.param_groups]
    assert halves == [rate / 2 for rate in full]


def test_a_tied_tensor_has_one_optimizer() -> None:
    model = nn.ModuleDict({"tokens": nn.Embedding(5, 3), "out": nn.Linear(3, 5, bias=False)})
    model["out"].weight = model["tokens"].weight
    tables = {"muon": {"name": "muon", "match": "out"}}
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.compile_plan(model, {"optimizer": tables, "rule": [thaws("**")]})
    assert [(item.code, item.where) for item in caught.value.diagnostics] == [
        ("FP420", "optimizer.muon.match")
    ]
    tables["muon"]["match"] = ["out", "tokens"]
    plan = freezeplan.compile_plan(model, {"optimizer": tables, "rule": [thaws("**")]})
    assert [group.optimizer for group in plan.groups] == ["muon"]


def test_rates_that_are_equal_under_one_base_only_collide() -> None:
    """`lr_mult = 2` and `lr = 0.02` agree for a base rate of 0.01, and not for Muon's 0.02."""
    rules = [thaws("**"), {"match": ["low", "head"], "lr_mult": 2.0}, {"match": ["low", "top"], "lr": 0.02}]
    alike = {"optimizer": {"lr": 0.01}, "rule": rules}
    freezeplan.compile_plan(Trunk(), alike)
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.compile_plan(Trunk(), {"optimizer": {"lr": 0.01, "muon": MUON}, "rule": rules})
    assert caught.value.diagnostics[0].code == "FP302"


def test_an_option_that_one_of_them_lacks_is_refused_in_a_rule() -> None:
    spec = spec_of(muon=MUON)
    spec["rule"][1] = thaws("head", betas=[0.8, 0.9])
    freezeplan.compile_plan(Trunk(), spec)
    spec["rule"].append({"match": "**", "betas": [0.8, 0.9]})
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.compile_plan(Trunk(), spec)
    assert {(item.code, item.message) for item in caught.value.diagnostics} == {
        ("FP403", "Muon has no option `betas`")
    }


def test_the_record_and_the_diff_know_them() -> None:
    records = [
        to_record(freezeplan.compile_plan(Trunk(), spec_of(**tables)))
        for tables in ({}, {"muon": MUON}, {"muon": {**MUON, "lr": 0.03}})
    ]
    assert records[1]["optimizers"]["muon"]["name"] == "Muon"
    assert {group["optimizer"] for group in records[1]["groups"]} == {None, "muon"}
    named = {item.what: item.names for item in diff_records(*records[:2]) if item.kind == "optimizer"}
    assert set(named["optimizer"]) == set(MUON["match"]) and "optimizer.muon" in named
    assert [item.what for item in diff_records(*records[1:]) if item.kind == "optimizer"] == [
        "optimizer.muon"
    ]


def test_the_gradient_of_one_step_reaches_all_through_a_closure() -> None:
    model = Trunk()
    plan = freezeplan.compile_plan(model, spec_of(muon=MUON))
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, "top")
    start = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    calls = []

    def closure() -> torch.Tensor:
        calls.append(1)
        loss = model(torch.ones(8, 4)).square().mean()
        loss.backward()
        return loss

    assert optimizer.step(closure) > 0 and calls == [1]
    moved = {name for name, now in model.named_parameters() if not torch.equal(now, start[name])}
    assert {"top.0.weight", "head.weight"} <= moved


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("name", ["adamw", "sparseadam", "sgd", "adagrad"])
def test_sparse_gradients_need_an_optimizer_that_takes_them(name: str, sparse: bool) -> None:
    """What the compiler says is what torch does at the first step."""
    model = nn.Sequential(nn.EmbeddingBag(10, 4, sparse=sparse))
    spec = {"optimizer": {"name": name, "no_decay": [], "weight_decay": 0.0}, "rule": [thaws("**")]}
    kind = {"adamw": "AdamW", "sparseadam": "SparseAdam", "sgd": "SGD", "adagrad": "Adagrad"}[name]
    direct = getattr(torch.optim, kind)(model.parameters())
    model(torch.zeros(1, 2, dtype=torch.long)).sum().backward()
    try:
        direct.step()
        takes = True
    except RuntimeError:
        takes = False
    if takes:
        build_optimizer(model, freezeplan.compile_plan(model, spec)).step()
        return
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.compile_plan(model, spec)
    assert [item.code for item in caught.value.diagnostics] == ["FP429" if sparse else "FP402"]


def test_a_sparse_table_that_is_tied_to_a_dense_use_gets_a_dense_gradient() -> None:
    model = nn.ModuleDict({"tokens": nn.Embedding(5, 3, sparse=True), "out": nn.Linear(3, 5, bias=False)})
    model["out"].weight = model["tokens"].weight
    assert len(freezeplan.compile_plan(model, {"rule": [thaws("**")]}).groups) == 1


def test_a_sparse_table_has_an_optimizer_of_its_own() -> None:
    model = nn.Sequential(nn.EmbeddingBag(10, 4, sparse=True), nn.Linear(4, 2))
    tables = {"tables": {"name": "sparseadam", "match": "0", "lr": 0.1}}
    optimizer = build_optimizer(
        model, freezeplan.compile_plan(model, {"optimizer": tables, "rule": [thaws("**")]})
    )
    start = model[0].weight.detach().clone()
    model(torch.zeros(1, 2, dtype=torch.long)).sum().backward()
    optimizer.step()
    assert not torch.equal(start[0], model[0].weight[0]) and torch.equal(start[1:], model[0].weight[1:])
