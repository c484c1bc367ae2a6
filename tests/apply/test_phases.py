"""Entering phases: what is set, what is refused, and what others get wrong about freezing and thawing."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import freezeplan
from freezeplan.api import compile_plan
from freezeplan.apply import build_optimizer, enter_phase, phase_rates, set_rates
from freezeplan.apply.schedules import schedule_factor
from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.optimizer_advice import OWN_RATES
from freezeplan.plan.optimizers import optimizer_table
from freezeplan.plan.records import Plan
from freezeplan.spec.table import ScheduleName
from tests.apply.phased import (
    FORCES,
    Trunk,
    freezes,
    moved,
    phase,
    plan_of,
    take_step,
    take_steps,
    tensors,
    thaws,
)
from tools.optimizer_table import optimizer_classes

LOW = {"low.0.weight", "low.0.bias", "low.1.weight", "low.1.bias"}
TOP = {"top.0.weight", "top.0.bias", "top.1.weight", "top.1.bias"}
HEAD = {"head.weight", "head.bias"}
STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}


def statistics(part: str) -> set[str]:
    return {f"{part}.1.{name}" for name in STATISTICS}


MOVING = {
    "head": HEAD,
    "top": TOP | statistics("top"),
    "all": LOW | TOP | HEAD | statistics("low") | statistics("top"),
    "top again": TOP | statistics("top"),
}


@pytest.mark.parametrize("name", FORCES)
def test_in_each_phase_exactly_what_it_trains_moves(name: str) -> None:
    model = Trunk()
    plan = plan_of(model, **({"name": name} | FORCES[name]))
    optimizer = build_optimizer(model, plan)
    for item in plan.phases:
        enter_phase(model, optimizer, plan, item.name)
        before = tensors(model)
        take_steps(model, optimizer, range(3))
        assert moved(model, before) == MOVING[item.name]


@pytest.mark.parametrize("name", FORCES)
def test_without_phases_of_ours_what_is_frozen_moves(name: str) -> None:
    """Row 1 and 2: ``requires_grad_(False)`` with a gradient left, or a rate of 0, is not frozen."""
    model = Trunk()
    plan = plan_of(model, **({"name": name} | FORCES[name]))
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, "all")
    take_step(model, optimizer)
    before = tensors(model)
    model.low.requires_grad_(False)
    optimizer.step()
    assert moved(model, before) & LOW


def test_entering_a_phase_drops_every_stale_gradient() -> None:
    model = Trunk()
    plan = plan_of(model)
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, "all")
    model.train()
    model(torch.randn(8, 4)).sum().backward()
    enter_phase(model, optimizer, plan, "top again")
    assert all(tensor.grad is None for tensor in model.parameters())
    before = tensors(model)
    optimizer.step()
    assert moved(model, before) == set()


def test_a_rate_of_zero_is_not_frozen() -> None:
    """Row 2: gradients, optimizer state and BatchNorm statistics are all still made."""
    model = Trunk()
    optimizer = torch.optim.AdamW(
        [{"params": model.low.parameters(), "lr": 0.0}, {"params": model.head.parameters()}]
    )
    before = tensors(model)
    take_step(model, optimizer)
    assert model.low[0].weight.grad is not None
    assert optimizer.state[model.low[0].weight]
    assert statistics("low") <= moved(model, before)
    plan = plan_of(model)
    ours = build_optimizer(model, plan)
    enter_phase(model, ours, plan, "head")
    before = tensors(model)
    take_step(model, ours)
    assert model.low[0].weight.grad is None
    assert not ours.state.get(model.low[0].weight)
    assert moved(model, before) == HEAD


class TwoHeads(nn.Module):
    """A trunk with two heads, of which a batch uses one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body, self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 2)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_an_absent_head_moves_by_a_gradient_of_zeros_only(set_to_none: bool) -> None:
    """Row 3."""
    model = TwoHeads()
    plan = compile_plan(model, {"rule": [thaws("**")], "optimizer": {"lr": 0.1, "weight_decay": 0.1}})
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, 0)
    for head in (model.first, model.second):
        optimizer.zero_grad(set_to_none=set_to_none)
        before = tensors(model)
        head(model.body(torch.ones(3, 4))).sum().backward()
        optimizer.step()
    absent = {name for name in moved(model, before) if name.startswith("first")}
    assert bool(absent) is not set_to_none


@pytest.mark.parametrize("name", ["AdamW", "Adagrad", "SGD"])
def test_what_has_not_been_thawed_yet_holds_no_state(name: str) -> None:
    """Row 5: one static partition costs nothing; the plan's bytes are those that are measured."""
    model = Trunk()
    plan = plan_of(model, **({"name": name} | FORCES[name]))
    optimizer = build_optimizer(model, plan)
    for index, item in enumerate(plan.phases):
        enter_phase(model, optimizer, plan, index)
        take_step(model, optimizer)
        state = [value for row in optimizer.state.values() for value in row.values()]
        assert sum(value.numel() * value.element_size() for value in state) == item.optimizer_state_bytes


def rethawed(on_thaw: str, name: str, **force: Any) -> tuple[nn.Module, torch.optim.Optimizer, Plan]:
    """Train the top, freeze it for a while, and come to the point where it thaws again."""
    model = Trunk()
    plan = plan_of(
        model,
        phase("top", thaws("top")),
        phase("pause", freezes("top")),
        phase("again", thaws("top", lr_mult=1.0), on_thaw=on_thaw),
        name=name,
        **force,
    )
    optimizer = build_optimizer(model, plan)
    for item in plan.phases[:2]:
        enter_phase(model, optimizer, plan, item.name)
        take_steps(model, optimizer, range(4))
    enter_phase(model, optimizer, plan, "again")
    return model, optimizer, plan


@pytest.mark.parametrize("name", FORCES)
def test_keep_and_reset_differ_in_the_first_step_after_a_thaw(name: str) -> None:
    """Row 6: a kept state drives the first step by old gradients."""
    after = {}
    for on_thaw in ("keep", "reset"):
        model, optimizer, _ = rethawed(on_thaw, name, **FORCES[name])
        take_step(model, optimizer, 99)
        after[on_thaw] = tensors(model)
    differing = {key for key, value in after["keep"].items() if not torch.equal(value, after["reset"][key])}
    assert "top.0.weight" in differing
    assert differing <= TOP


KEEPING = [
    facts
    for facts in optimizer_table().values()
    if facts.groups and not facts.demand and (facts.copies or facts.extra)
]


@pytest.mark.parametrize("facts", KEEPING, ids=lambda facts: facts.name)
def test_after_a_reset_the_first_step_is_that_of_a_new_optimizer(facts: Any) -> None:
    force = {"momentum": 0.9} if facts.name == "SGD" else {}
    model, optimizer, plan = rethawed("reset", facts.name, **force)
    other = copy.deepcopy(model)
    enter_phase(other, fresh := build_optimizer(other, plan), plan, "again")
    for one, its_own in ((model, optimizer), (other, fresh)):
        take_step(one, its_own, 99)
    for name, value in tensors(model).items():
        if name in TOP:
            assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize("facts", KEEPING, ids=lambda facts: facts.name)
def test_entering_a_phase_again_changes_nothing(facts: Any) -> None:
    force = {"momentum": 0.9} if facts.name == "SGD" else {}
    model, optimizer, plan = rethawed("keep", facts.name, **force)
    take_step(model, optimizer, 5)
    again = copy.deepcopy((model, optimizer))
    model.zero_grad()
    enter_phase(*again, plan, "again")
    for one, its_own in ((model, optimizer), again):
        take_steps(one, its_own, (6, 7))
    assert moved(again[0], tensors(model)) == set()


def test_only_adagrad_makes_its_state_when_it_is_built() -> None:
    early = set()
    for kind in optimizer_classes():
        weight = nn.Parameter(torch.zeros(2, 2))
        if kind([weight], lr=0.1).state.get(weight):
            early.add(kind.__name__)
    assert early == {"Adagrad"}


def test_adagrad_begins_each_group_at_its_own_accumulator() -> None:
    model = Trunk()
    rule = thaws(["low", "top"], name="body", initial_accumulator_value=0.7)
    plan = plan_of(model, phase("head"), phase("all", rule), name="Adagrad", initial_accumulator_value=0.3)
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, "all")
    sums = {
        name: float(optimizer.state[tensor]["sum"].flatten()[0]) for name, tensor in model.named_parameters()
    }
    assert {name for name, value in sums.items() if value == pytest.approx(0.7)} == LOW | TOP
    assert {name for name, value in sums.items() if value == pytest.approx(0.3)} == HEAD
    naive = torch.optim.Adagrad([{"params": [model.head.bias], "initial_accumulator_value": 0.3}])
    assert float(naive.state[model.head.bias]["sum"][0]) == 0.0


SWITCHED = [
    ("AdamW", "amsgrad", True),
    ("Adam", "amsgrad", True),
    ("RMSprop", "centered", True),
    ("RMSprop", "momentum", 0.9),
    ("SGD", "momentum", 0.9),
]


@pytest.mark.parametrize(("name", "option", "value"), SWITCHED)
def test_an_option_can_come_on_in_a_later_phase(name: str, option: str, value: Any) -> None:
    model = Trunk()
    on = {"name": "on", "match": "head", option: value}
    plan = plan_of(model, phase("off"), phase("on", on), name=name)
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, "off")
    take_step(model, optimizer)
    assert optimizer.param_groups[0][option] != value
    enter_phase(model, optimizer, plan, "on")
    before = tensors(model)
    take_step(model, optimizer)
    assert (optimizer.param_groups[0][option], moved(model, before)) == (value, HEAD)


def test_torch_alone_fails_when_an_option_comes_on() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.ones(2)
    optimizer.step()
    optimizer.param_groups[0]["amsgrad"] = True
    with pytest.raises(KeyError):
        optimizer.step()


def test_groups_are_the_same_from_the_first_step_to_the_last() -> None:
    """Row 7: no group is ever added, so a scheduler that was built first never breaks."""
    model = Trunk()
    plan = plan_of(model)
    optimizer = build_optimizer(model, plan)
    groups = [(id(group), [id(tensor) for tensor in group["params"]]) for group in optimizer.param_groups]
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    for item in plan.phases:
        enter_phase(model, optimizer, plan, item.name)
        take_step(model, optimizer)
        scheduler.step()
        now = [(id(group), [id(tensor) for tensor in group["params"]]) for group in optimizer.param_groups]
        assert now == groups


def test_adding_a_group_breaks_a_scheduler() -> None:
    model = Trunk()
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    optimizer.add_param_group({"params": list(model.top.parameters())})
    take_step(model, optimizer)
    with pytest.raises(ValueError):
        scheduler.step()


def test_a_scheduler_built_after_a_thaw_starts_from_the_plans_rates() -> None:
    """torch remembers the rates of the first scheduler in the groups, and every later one would start there."""
    model = Trunk()
    plan = plan_of(model)
    optimizer = build_optimizer(model, plan)
    for item in plan.phases:
        enter_phase(model, optimizer, plan, item.name)
        scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 / (step + 1))
        assert {g["name"]: g["lr"] for g in optimizer.param_groups} == phase_rates(plan, item.name)
        take_step(model, optimizer)
        scheduler.step()
        halved = {name: rate / 2 for name, rate in phase_rates(plan, item.name).items()}
        assert {g["name"]: g["lr"] for g in optimizer.param_groups} == halved


class CountsInGroups(torch.optim.Optimizer):
    """Count steps in the group, as Lamb does with ``step`` and schedule-free optimizers with ``k``."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "k": 0})

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            group["k"] += 1
            for tensor in group["params"]:
                if tensor.grad is not None:
                    self.state[tensor]["seen"] = True


@pytest.mark.parametrize(("on_thaw", "counts"), [("reset", 1), ("keep", 2)])
def test_a_group_counts_the_steps_of_the_state_that_it_has(on_thaw: str, counts: int) -> None:
    """New after a thaw, or kept: then it stands still while the group is frozen, though the optimizer counts on."""
    head = {"name": "head", "match": "1", "state": "trainable"}
    body = {"name": "body", "match": "0", "state": "trainable"}
    phases = [
        {"name": "all", "steps": 1},
        {"name": "head", "steps": 4, "rule": [{**body, "name": "off", "state": "frozen"}]},
        {"name": "again", "steps": 1, "on_thaw": on_thaw, "rule": [{**body, "name": "on"}]},
    ]
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    plan = compile_plan(model, {"optimizer": {"no_decay": []}, "rule": [body, head], "phase": phases})
    optimizer = CountsInGroups(freezeplan.build_param_groups(model, plan))
    for item in plan.phases:
        for _ in range(2):
            enter_phase(model, optimizer, plan, item.name)
        for _ in range(item.length.count):
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
    found = {group["name"]: (group["step"], group["k"]) for group in optimizer.param_groups}
    assert found == {"body": (counts, counts), "head": (6, 6)}


def under_one_scheduler(factor: Any) -> dict[str, float]:
    """Enter the second phase halfway through a cosine over both; return each rate over the plan's afterwards."""
    model = Trunk()
    plan = plan_of(model)
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, plan.phases[0].name)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, 4)
    for _ in range(2):
        take_step(model, optimizer)
        scheduler.step()
    enter_phase(model, optimizer, plan, plan.phases[1].name, **factor)
    rates = phase_rates(plan, plan.phases[1].name)
    return {g["name"]: g["lr"] / rates[g["name"]] for g in optimizer.param_groups if rates[g["name"]]}


def test_a_scheduler_over_the_whole_run_keeps_its_factor_or_a_warning_says_that_it_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert list(under_one_scheduler({"factor": "keep"}).values()) == [pytest.approx(0.5)]
    assert set(under_one_scheduler({"factor": 1.0}).values()) == {1.0} and not caplog.messages
    assert set(under_one_scheduler({}).values()) == {1.0}
    (message,) = caplog.messages
    assert message.startswith("the rates stood at 0.5 of those they began with")


@pytest.mark.parametrize("name", get_args(ScheduleName))
def test_ratios_are_the_plans_at_every_step_of_every_phase(name: str) -> None:
    """Row 8."""
    warmup = {} if name in ("constant", "slanted_triangular") else {"warmup": 0.2}
    model = Trunk()
    plan = plan_of(model, schedule={"name": name, **warmup})
    optimizer = build_optimizer(model, plan)
    for index, item in enumerate(plan.phases):
        factor = schedule_factor(item.schedule, 12)
        for step in range(3 * index, 3 * index + 3):
            if step == 3 * index:
                enter_phase(model, optimizer, plan, index, factor=factor(step))
            else:
                set_rates(optimizer, plan, index, factor(step))
            for group, planned in zip(optimizer.param_groups, plan.groups, strict=True):
                assert group["lr"] == (planned.lr[index] or 0.0) * factor(step)
            take_step(model, optimizer, step)


def test_an_absolute_floor_destroys_the_ratios() -> None:
    model = Trunk()
    plan = plan_of(model)
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, "all")
    planned = [group["lr"] for group in optimizer.param_groups]
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, 3, eta_min=0.04)
    for step in range(3):
        take_step(model, optimizer, step)
        scheduler.step()
    rates = [group["lr"] for group in optimizer.param_groups]
    assert max(planned) / min(planned) == pytest.approx(2.0)
    assert max(rates) / min(rates) == pytest.approx(1.0)


def test_batch_norm_without_running_statistics_is_no_substitute() -> None:
    """Row 9: frozen means the stored statistics, and no dropout; other batches must not change what is computed."""
    model = Trunk()
    plan = plan_of(model)
    enter_phase(model, build_optimizer(model, plan), plan, "top")
    model.train()
    rows = torch.randn(8, 4)
    assert torch.allclose(model.low(rows)[:2], model.low(rows[:2]))
    other = nn.BatchNorm1d(6, track_running_stats=False).eval()
    hidden = torch.randn(8, 6)
    assert not torch.allclose(other(hidden)[:2], other(hidden[:2]))


def test_positions_mix_up_state_and_names_do_not() -> None:
    """Row 13: what torch saves goes by position; the plan's groups carry the name of every tensor."""
    model = Trunk()
    plan = plan_of(model)
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, "all")
    take_step(model, optimizer)
    saved = copy.deepcopy(optimizer.state_dict())
    names = [name for group in saved["param_groups"] for name in group["param_names"]]
    assert names == [name for group in plan.groups for name in group.members]
    turned = replace(plan, groups=tuple(replace(g, members=g.members[::-1]) for g in plan.groups))
    other = build_optimizer(model, turned)
    other.load_state_dict(saved)
    square = model.top[0].weight
    assert other.state[square]["exp_avg"].shape != square.shape


def swap(model: nn.Module) -> None:
    model.top[0].weight = nn.Parameter(model.top[0].weight.detach().clone())


def add(optimizer: torch.optim.Optimizer) -> None:
    adapter = nn.Parameter(torch.zeros(2))
    optimizer.add_param_group({"params": [("adapter", adapter)], "name": "adapter"})


REFUSED = {
    "a rebuilt tensor": (lambda m, o: swap(m), "FP432"),
    "tensors of equal value": (
        lambda m, o: m.load_state_dict(copy.deepcopy(m).state_dict(), assign=True),
        "FP432",
    ),
    "a group of strangers": (lambda m, o: add(o), "FP432"),
    "another model": (lambda m, o: setattr(m, "head", nn.Linear(5, 2)), "FP414"),
    "a group renamed": (lambda m, o: o.param_groups[0].update(name="other"), "FP440"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_changes(kind: str) -> None:
    """Rows 20 and 23: a tensor is known by its identity, never by its value."""
    model = Trunk()
    plan = plan_of(model)
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, "head")
    change, code = REFUSED[kind]
    change(model, optimizer)
    rates = [group["lr"] for group in optimizer.param_groups]
    trainable = {name for name, tensor in model.named_parameters() if tensor.requires_grad}
    with pytest.raises(DiagnosticError) as caught:
        enter_phase(model, optimizer, plan, "all")
    assert [item.code for item in caught.value.diagnostics] == [code]
    assert [group["lr"] for group in optimizer.param_groups] == rates
    assert {name for name, tensor in model.named_parameters() if tensor.requires_grad} == trainable


def test_groups_that_were_merged_are_refused() -> None:
    model = Trunk()
    plan = plan_of(model)
    groups = freezeplan.build_param_groups(model, plan)
    merged = [{"name": groups[0]["name"], "params": [pair for group in groups for pair in group["params"]]}]
    with pytest.raises(DiagnosticError) as caught:
        enter_phase(model, torch.optim.AdamW(merged), plan, 0)
    (found,) = caught.value.diagnostics
    assert found.code == "FP440"
    assert all(f"`{group.name}`" in found.message for group in plan.groups)


def test_a_phase_is_given_by_name_or_place() -> None:
    model = Trunk()
    plan = plan_of(model)
    optimizer = build_optimizer(model, plan)
    freezeplan.enter_phase(model, optimizer, plan, "top")
    by_name = [group["lr"] for group in optimizer.param_groups], model.top.training
    freezeplan.enter_phase(model, optimizer, plan, 1)
    assert by_name == ([group["lr"] for group in optimizer.param_groups], model.top.training)
    with pytest.raises(KeyError, match="phases: head, top, all, top again"):
        enter_phase(model, optimizer, plan, "tpo")


def test_an_optimizer_that_accelerate_wraps_is_followed() -> None:
    from accelerate import Accelerator

    model = Trunk()
    plan = plan_of(model, name="Adagrad", initial_accumulator_value=0.3)
    optimizer = build_optimizer(model, plan)
    wrapped = Accelerator(cpu=True).prepare_optimizer(optimizer)
    for index in range(4):
        enter_phase(model, wrapped, plan, index)
        if index == 1:
            assert float(optimizer.state[model.top[0].bias]["sum"][0]) == pytest.approx(0.3)
        before = tensors(model)
        take_steps(model, wrapped, range(2))
        assert moved(model, before) == MOVING[plan.phases[index].name]


def test_a_rate_that_is_a_tensor_stays_one() -> None:
    model = Trunk()
    plan = plan_of(model)
    groups = freezeplan.build_param_groups(model, plan)
    rate = torch.tensor(0.0)
    for group in groups:
        group["lr"] = rate.clone()
    optimizer = torch.optim.AdamW(groups, foreach=False)
    held = [group["lr"] for group in optimizer.param_groups]
    enter_phase(model, optimizer, plan, "all", factor=0.5)
    assert all(group["lr"] is tensor for group, tensor in zip(optimizer.param_groups, held, strict=True))
    assert [float(tensor) for tensor in held] == pytest.approx(list(phase_rates(plan, "all", 0.5).values()))


def moves_at_a_rate_of_zero(kind: type[torch.optim.Optimizer], steps: int) -> bool:
    """Take a step at a rate, set the rate to 0, and tell whether the last of some more steps moves anything."""
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = kind([{"params": [weight], "lr": 0.1}])
    for rate in (0.1, *[0.0] * steps):
        optimizer.param_groups[0]["lr"] = rate
        before = weight.detach().clone()
        weight.grad = torch.ones(2, 2)
        optimizer.step()
    return not torch.equal(weight, before)


@pytest.mark.parametrize(
    ("optimizer", "schedule", "rate", "warned"),
    [
        ("rprop", "linear", 1.0, True),
        ("asgd", "linear", 1.0, True),
        ("rprop", "constant", 1.0, False),
        ("rprop", "constant", 0.5, True),
        ("sgd", "linear", 0.5, False),
    ],
)
def test_rates_that_an_optimizer_does_not_follow_are_warned_of(
    optimizer: str, schedule: str, rate: float, warned: bool
) -> None:
    phases = phase("head"), phase("again", thaws("head", lr_mult=2.0 * rate))
    spec = {"name": optimizer, "weight_decay": 0.0}
    plan = plan_of(Trunk(), *phases, schedule={"name": schedule}, **spec)
    assert ("FP426" in [item.code for item in plan.diagnostics]) is warned


def test_which_optimizers_keep_a_rate_in_their_state() -> None:
    """Rprop takes its rate once and for all, ASGD one step late: their schedules are not the plan's."""
    kinds = {
        facts.name: getattr(torch.optim, facts.name)
        for facts in optimizer_table().values()
        if not facts.demand
    }
    assert {name for name, kind in kinds.items() if moves_at_a_rate_of_zero(kind, 1)} == {"ASGD", "Rprop"}
    assert {"ASGD", "Rprop"} == set(OWN_RATES)
    assert {name for name, kind in kinds.items() if moves_at_a_rate_of_zero(kind, 2)} == {"Rprop"}
