"""Parameter groups for real optimizers: named, complete, accepted by all that take groups, exact in their rates."""

from __future__ import annotations

import json
import logging
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from torch import nn
from torch.optim import lr_scheduler

import freezeplan
from freezeplan.api import apply_freeze, build_param_groups, compile_plan
from freezeplan.apply import build_optimizer, enter_phase, set_rates
from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.optimizers import optimizer_table
from tests.apply.splitting import all_names, plan_training, split_models
from tools.optimizer_table import document

TABLE = optimizer_table()
TAKES_GROUPS = [facts for facts in TABLE.values() if facts.groups and facts.demand != "sparse gradients only"]
TOGGLES = [
    (facts.name, key)
    for facts in TABLE.values()
    for key in ("amsgrad", "centered", "momentum")
    if key in facts.extra
]


class Mixed(nn.Module):
    """Parameters of no, one, two, three and four dimensions, and a frozen part."""

    def __init__(self, flat_only: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(3, 5, bias=False)
        self.head = nn.Linear(5, 2, bias=False)
        if not flat_only:
            self.scale = nn.Parameter(torch.ones(()))
            self.norm = nn.LayerNorm(5)
            self.conv = nn.Conv1d(2, 3, 2)
            self.image = nn.Conv2d(2, 3, 2)

    def fill_gradients(self) -> None:
        """Give every parameter that wants one a gradient."""
        for tensor in self.parameters():
            tensor.grad = torch.full_like(tensor, 0.5) if tensor.requires_grad else None


def model_for(facts: Any) -> Mixed:
    """Return a model that the optimizer can take."""
    return Mixed(flat_only=facts.demand == "2-D parameters only")


def rates(name: str, **optimizer: Any) -> dict[str, Any]:
    """Return a spec with two rates and a frozen part for one optimizer."""
    rules = [
        {"name": "all", "match": "**", "state": "trainable"},
        {"name": "body", "match": "body", "state": "frozen"},
        {"name": "head", "match": "head", "lr_mult": 10.0},
    ]
    return {"optimizer": {"name": name, "lr": 0.01, "no_decay": [], **optimizer}, "rule": rules}


@pytest.mark.parametrize("facts", TAKES_GROUPS, ids=lambda facts: facts.name)
def test_groups_go_straight_into_the_optimizer_and_it_takes_a_step(facts: Any) -> None:
    model = model_for(facts)
    spec = rates(facts.name)
    if facts.demand:
        spec["rule"][0]["match"] = ["head", "body"]
    groups = build_param_groups(model, spec)
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    optimizer = getattr(torch.optim, facts.name)(groups)
    model.fill_gradients()
    optimizer.step()
    moved = {name for name, tensor in model.named_parameters() if not torch.equal(tensor, before[name])}
    assert moved == set(before) - {"body.weight"}
    assert (
        optimizer.param_groups[-1]["name"] == "head"
        if facts.demand
        else "head" in {g["name"] for g in groups}
    )


@pytest.mark.parametrize("facts", TAKES_GROUPS, ids=lambda facts: facts.name)
def test_a_group_carries_exactly_the_options_of_its_optimizer(facts: Any) -> None:
    groups = build_param_groups(model_for(facts), rates(facts.name))
    # torch writes its own keys into the groups it is given.
    given_keys = [set(group) - {"params", "name", "lr"} for group in groups]
    built = getattr(torch.optim, facts.name)([dict(group) for group in groups])
    for keys, ours, theirs in zip(given_keys, groups, built.param_groups, strict=True):
        assert keys <= set(facts.options)
        assert ("weight_decay" in keys) is facts.has_weight_decay
        assert {key: theirs[key] for key in (*keys, "lr")} == {key: ours[key] for key in (*keys, "lr")}


def groups_of(name: str, rules: list[dict[str, Any]] | None = None, **optimizer: Any) -> list[dict[str, Any]]:
    rules = rules or [{"name": "all", "match": "**", "state": "trainable"}]
    return build_param_groups(Mixed(), {"optimizer": {"name": name, "lr": 0.1, **optimizer}, "rule": rules})


def test_what_the_spec_leaves_out_is_the_constructors() -> None:
    assert all(set(group) == {"params", "name", "lr", "weight_decay"} for group in groups_of("sgd"))
    given = torch.optim.SGD(groups_of("sgd"), momentum=0.9, nesterov=True).param_groups
    assert {(group["momentum"], group["nesterov"]) for group in given} == {(0.9, True)}
    written = torch.optim.AdamW(groups_of("adamw", eps=1e-6), betas=(0.8, 0.95), eps=1e-5).param_groups
    assert {(group["betas"], group["eps"]) for group in written} == {((0.8, 0.95), 1e-6)}


def test_an_optimizer_of_another_kind_keeps_its_own_defaults() -> None:
    class Sign(torch.optim.Optimizer):
        def __init__(self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99)) -> None:
            super().__init__(params, {"lr": lr, "betas": betas})

    assert {group["betas"] for group in Sign(groups_of("adamw")).param_groups} == {(0.9, 0.99)}


def test_what_one_rule_sets_stands_in_its_groups_alone_and_in_every_phase_of_them() -> None:
    rules = [
        {"name": "all", "match": "**", "state": "trainable"},
        {"name": "head", "match": "head", "betas": [0.5, 0.9]},
    ]
    spec = {"rule": rules, "optimizer": {"no_decay": []}}
    found = {group["name"]: group.get("betas") for group in build_param_groups(Mixed(), spec)}
    assert found == {"all": None, "head": (0.5, 0.9)}
    later = [{"name": "later", "match": "head", "betas": [0.5, 0.9]}]
    spec = {"rule": rules[:1], "optimizer": {"no_decay": []}}
    spec["phase"] = [{"name": "a", "steps": 1}, {"name": "b", "steps": 1, "rule": later}]
    model = Mixed()
    plan = compile_plan(model, spec)
    optimizer = torch.optim.AdamW(build_param_groups(model, plan), betas=(0.7, 0.8))
    for phase, expected in (("a", (0.9, 0.999)), ("b", (0.5, 0.9))):
        enter_phase(model, optimizer, plan, phase)
        seen = {group["betas"] for group in optimizer.param_groups}
        assert seen == {(0.7, 0.8), expected}


@settings(max_examples=40)
@given(split_models())
def test_groups_hold_every_trainable_tensor_once_by_its_own_name(made: Any) -> None:
    model, trained = made
    if not trained:
        return
    named = all_names(model)
    groups = build_param_groups(model, plan_training(model, trained))
    pairs = [pair for group in groups for pair in group["params"]]
    assert all(named[name] is tensor for name, tensor in pairs)
    assert {id(tensor) for _, tensor in pairs} == {id(named[name]) for name in trained}
    assert len(torch.optim.AdamW(groups).param_groups) == len(groups)
    assert len(pairs) == len({id(tensor) for _, tensor in pairs})


def test_freeze_false_leaves_the_model_alone(caplog: pytest.LogCaptureFixture) -> None:
    model = Mixed()
    model.fill_gradients()
    with caplog.at_level(logging.INFO, "freezeplan"):
        groups = build_param_groups(model, rates("adamw"), freeze=False)
    assert all(tensor.requires_grad and tensor.grad is not None for tensor in model.parameters())
    assert model.body.training
    assert "body.weight" not in [name for group in groups for name, _ in group["params"]]
    assert "the model was left alone" in caplog.text


def test_the_freeze_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "freezeplan"):
        build_param_groups(Mixed(), rates("adamw"))
    assert "8 tensors in 2 groups train, 1 tensors are now frozen" in caplog.text


@pytest.mark.parametrize("name", ["LBFGS", "SparseAdam", "Muon"])
def test_what_an_optimizer_cannot_take_is_refused_at_compile_time(name: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compile_plan(Mixed(), rates(name))
    assert [(item.code, item.where) for item in caught.value.diagnostics] == [("FP402", "optimizer.name")]


@pytest.mark.parametrize("name", ["lbfgs", "rprop"])
def test_the_mask_parts_no_group_of_an_optimizer_without_weight_decay(name: str) -> None:
    groups = build_param_groups(
        nn.Sequential(nn.Linear(2, 2)),
        {"optimizer": {"name": name}, "rule": [{"name": "all", "match": "**", "state": "trainable"}]},
    )
    assert [(group["name"], len(group["params"])) for group in groups] == [("all", 2)]


def test_lbfgs_takes_one_group_and_steps_with_a_closure() -> None:
    model = Mixed()
    spec = rates("lbfgs")
    spec["rule"] = spec["rule"][:2]
    optimizer = torch.optim.LBFGS(build_param_groups(model, spec))
    model.fill_gradients()
    before = model.head.weight.detach().clone()
    optimizer.step(lambda: torch.tensor(1.0))
    assert not torch.equal(before, model.head.weight)


def test_an_optimizer_without_a_trainable_parameter_is_refused() -> None:
    plan = plan_training(Mixed(), [])
    with pytest.raises(DiagnosticError) as caught:
        build_optimizer(Mixed(), plan)
    assert [item.code for item in caught.value.diagnostics] == ["FP413"]


def measured_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of all tensors that an optimizer holds as state."""
    states = [value for state in optimizer.state.values() for value in state.values()]
    return sum(value.numel() * value.element_size() for value in states if isinstance(value, torch.Tensor))


def check_state_bytes(facts: Any, spec: dict[str, Any], dtype: torch.dtype = torch.float32) -> None:
    """Compare the plan's prediction with the state of the real optimizer after one step."""
    model = model_for(facts).to(dtype)
    plan = compile_plan(model, spec)
    apply_freeze(model, plan)
    optimizer = build_optimizer(model, plan)
    model.fill_gradients()
    optimizer.step()
    assert plan.phases[0].optimizer_state_bytes == measured_bytes(optimizer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("facts", TAKES_GROUPS, ids=lambda facts: facts.name)
def test_the_predicted_optimizer_state_is_what_is_measured(facts: Any, dtype: torch.dtype) -> None:
    check_state_bytes(facts, rates(facts.name), dtype)


@pytest.mark.parametrize(("name", "key"), TOGGLES)
def test_so_it_is_with_an_option_that_keeps_more(name: str, key: str) -> None:
    spec = rates(name, **{key: 0.9 if key == "momentum" else True})
    check_state_bytes(TABLE[name.lower()], spec)
    spec["optimizer"].pop(key)
    spec["rule"][2][key] = 0.9 if key == "momentum" else True
    check_state_bytes(TABLE[name.lower()], spec)


def test_the_table_is_what_a_measurement_of_this_torch_gives() -> None:
    shipped = json.loads((files("freezeplan.plan") / "optimizers.json").read_text("utf-8"))
    fresh = json.loads(document())
    if shipped["torch"] == fresh["torch"]:
        assert shipped == fresh
    else:
        # Another torch may have more optimizers; those that both know must agree.
        known = {row["name"]: row for row in fresh["optimizers"]}
        assert all(known.get(row["name"], row) == row for row in shipped["optimizers"])


LAMBDA_FAMILY = {
    "LambdaLR": lambda opt: lr_scheduler.LambdaLR(opt, lambda step: 1 / (step + 1)),
    "MultiplicativeLR": lambda opt: lr_scheduler.MultiplicativeLR(opt, lambda step: 0.9),
    "StepLR": lambda opt: lr_scheduler.StepLR(opt, 3, 0.1),
    "MultiStepLR": lambda opt: lr_scheduler.MultiStepLR(opt, [2, 5], 0.1),
    "ConstantLR": lambda opt: lr_scheduler.ConstantLR(opt, 0.3, 4),
    "LinearLR": lambda opt: lr_scheduler.LinearLR(opt, 0.2, 1.0, 6),
    "ExponentialLR": lambda opt: lr_scheduler.ExponentialLR(opt, 0.8),
    "PolynomialLR": lambda opt: lr_scheduler.PolynomialLR(opt, 12, 2.0),
    **{
        name: lambda opt, name=name: transformers.get_scheduler(name, opt, 3, 12)
        for name in (
            "linear",
            "cosine",
            "cosine_with_restarts",
            "polynomial",
            "constant_with_warmup",
            "inverse_sqrt",
        )
    },
}


def ratios_over(schedule: Any, steps: int = 10) -> tuple[float, set[float]]:
    """Run a schedule; return the plan's ratio of the head's rate to the rest's, and all ratios seen."""
    optimizer = torch.optim.SGD(build_param_groups(Mixed(), rates("sgd")))
    rest, head = sorted(optimizer.param_groups, key=lambda group: group["lr"])
    planned = head["lr"] / rest["lr"]
    scheduler = schedule(optimizer)
    seen = set()
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        if rest["lr"] > 0:
            seen.add(round(head["lr"] / rest["lr"], 9))
    return planned, seen


@pytest.mark.parametrize("name", LAMBDA_FAMILY)
def test_ratios_between_groups_stay_under_schedules_that_scale(name: str) -> None:
    planned, seen = ratios_over(LAMBDA_FAMILY[name])
    assert planned == pytest.approx(10.0)
    assert seen == {10.0}


def test_an_absolute_floor_destroys_ratios_whoever_made_the_groups() -> None:
    _, seen = ratios_over(lambda opt: lr_scheduler.CosineAnnealingLR(opt, 10, eta_min=0.01))
    assert min(seen) < 2.0


FORCES = {
    "SGD": {"momentum": 0.9, "weight_decay": 0.1},
    "AdamW": {"weight_decay": 0.1},
    "Adagrad": {"weight_decay": 0.1},
}


@pytest.mark.parametrize("name", FORCES)
def test_what_is_frozen_after_training_never_moves_again(name: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = getattr(torch.optim, name)(
        build_param_groups(model, plan_training(model, list(all_names(model)))), lr=0.1, **FORCES[name]
    )
    take_steps(model, optimizer, 3)
    body = {key: value.clone() for key, value in model.state_dict().items() if not key.startswith("2.")}
    model[0].weight.grad = torch.ones_like(model[0].weight)
    freezeplan.apply_freeze(model, plan_training(model, ["2.weight", "2.bias"]))
    head = model[2].weight.detach().clone()
    take_steps(model, optimizer, 3)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in body.items())
    assert not torch.equal(head, model[2].weight)


@pytest.mark.parametrize("how", [{"foreach": False}, {"foreach": True}, {"fused": True}], ids=str)
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adagrad"])
def test_no_implementation_of_an_optimizer_moves_what_is_frozen(name: str, how: dict[str, bool]) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    freezeplan.apply_freeze(model, plan_training(model, ["1.weight", "1.bias"]))
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1, weight_decay=0.1, **how)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    take_steps(model, optimizer, 2)
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"1.weight", "1.bias"}


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Train on noise."""
    for _ in range(steps):
        model.train()
        model(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def test_zeroed_gradients_would_let_it_move() -> None:
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.1)
    layer.requires_grad_(False)
    layer.weight.grad = torch.zeros_like(layer.weight)
    before = layer.weight.detach().clone()
    optimizer.step()
    assert not torch.equal(before, layer.weight)


class Refusing(torch.optim.SGD):
    """Refuse pairs, as optimizers do that look at their parameters first."""

    def __init__(self, params: Any, lr: float) -> None:
        params = list(params)
        assert all(
            torch.is_tensor(tensor) and "name" not in group for group in params for tensor in group["params"]
        )
        super().__init__(params, lr=lr)


PHASED = {
    "optimizer": {"name": "sgd", "lr": 0.01, "no_decay": []},
    "rule": [
        {"name": "body", "match": "**", "state": "frozen"},
        {"name": "head", "match": "head", "state": "trainable", "lr_mult": 10.0},
    ],
    "phase": [
        {"name": "head", "steps": 1},
        {
            "name": "all",
            "steps": 1,
            "rule": [{"name": "on", "match": "body", "state": "trainable", "lr_mult": 0.3}],
        },
    ],
}


def test_groups_without_names_go_through_the_phases_by_their_tensors() -> None:
    model = Mixed(flat_only=True)
    plan = compile_plan(model, PHASED)
    optimizer = Refusing(build_param_groups(model, plan, named=False), lr=1.0)
    found = []
    for index in range(2):
        enter_phase(model, optimizer, plan, index)
        freezeplan.verify(model, plan, optimizer, index)
        set_rates(optimizer, plan, index, 0.5)
        found.append([group["lr"] for group in optimizer.param_groups])
    assert found == [[0.0, 0.05], [0.0015, 0.05]]


def schedule(optimizer: torch.optim.Optimizer, factor: float, floor: float = 0.0) -> list[float]:
    """Set every rate as timm's schedulers do: a value from the group's first rate, times its ``lr_scale``."""
    for group in optimizer.param_groups:
        first = group.setdefault("initial_lr", group["lr"])
        group["lr"] = (floor + (first - floor) * factor) * group.get("lr_scale", 1.0)
    return [group["lr"] for group in optimizer.param_groups]


def test_a_scheduler_that_multiplies_by_a_scale_keeps_the_ratios_over_its_floor_too() -> None:
    model = Mixed(flat_only=True)
    plan = compile_plan(model, PHASED)
    optimizer = torch.optim.SGD(build_param_groups(model, plan, scale_key="lr_scale"))
    assert [(group["lr"], group["lr_scale"]) for group in optimizer.param_groups] == [
        (0.003, 0.3),
        (0.1, 10.0),
    ]
    enter_phase(model, optimizer, plan, "head")
    assert schedule(optimizer, 1.0) == [0.0, 0.1]
    schedule(optimizer, 0.5)
    enter_phase(model, optimizer, plan, "all", factor="keep")
    assert [group["lr"] for group in optimizer.param_groups] == [0.0015, 0.05]
    assert schedule(optimizer, 0.25, floor=0.002) == pytest.approx([0.0012, 0.04])


@pytest.mark.skipif(find_spec("torchvision") is None, reason="timm imports torchvision at its top")
def test_timms_own_scheduler_reads_the_scale() -> None:
    from timm.scheduler import CosineLRScheduler

    model = Mixed(flat_only=True)
    plan = compile_plan(model, PHASED)
    optimizer = torch.optim.SGD(build_param_groups(model, plan, scale_key="lr_scale"))
    enter_phase(model, optimizer, plan, "all")
    schedule = CosineLRScheduler(optimizer, t_initial=10, lr_min=1e-3)
    for step in range(5):
        schedule.step(step)
        low, high = (group["lr"] for group in optimizer.param_groups)
        assert high / low == pytest.approx(10 / 0.3)


SAID = {
    "weight decay": ({"weight_decay": 0.3}, ["AdamW was given weight_decay = 0.3"]),
    "rate": ({"lr": 0.5}, ["AdamW was given lr = 0.5"]),
    "an option of the spec": ({"eps": 1e-4}, ["AdamW was given eps = 0.0001"]),
    "an option that the spec leaves": ({"betas": (0.8, 0.9)}, []),
    "the plan's own": ({"lr": 0.01, "weight_decay": 0.02}, []),
    "nothing": ({}, []),
}


@pytest.mark.parametrize("what", SAID)
@pytest.mark.parametrize("call", ["verify", "enter_phase"])
def test_an_argument_of_the_constructor_that_the_groups_overrule_is_said(
    what: str, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = Mixed(flat_only=True)
    options = {"weight_decay": 0.02, "eps": 1e-6, "no_decay": []}
    plan = compile_plan(model, rates("adamw", **options))
    given, said = SAID[what]
    optimizer = torch.optim.AdamW(build_param_groups(model, plan), **given)
    caplog.clear()
    for _ in range(2):
        if call == "verify":
            freezeplan.verify(model, plan, optimizer)
        else:
            enter_phase(model, optimizer, plan, 0)
    told = [record.getMessage() for record in caplog.records if "was given" in record.getMessage()]
    assert [line.partition(", which has no effect")[0] for line in told] == said
