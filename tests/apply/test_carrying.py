"""A scheduler of one's own that runs over several phases: the plan's ratios at every step, or a warning."""

from __future__ import annotations

import copy
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as torchs

from freezeplan.apply import build_optimizer, enter_phase, phase_rates
from freezeplan.apply.carrying import PHASE_RATE, in_proportion
from freezeplan.apply.resuming import resume_from_checkpoint
from freezeplan.plan.records import Plan
from tests.apply.phased import Trunk, freezes, phase, plan_of, take_step, thaws
from tests.apply.timm_groups import timm_schedulers

STEPS = 12
Make = Callable[[torch.optim.Optimizer], Any]
ACROSS = (
    phase("head"),
    phase("top", thaws("top", name="top", lr_mult=0.5)),
    phase("all", thaws("low", name="low", lr_mult=0.1), {"match": "head", "lr_mult": 0.7}),
    phase("body", freezes("head")),
    phase("again", thaws("head", lr_mult=3.0), freezes("low")),
)


def sequence(optimizer: torch.optim.Optimizer) -> Any:
    parts = [
        torchs.LinearLR(optimizer, 0.25, total_iters=3),
        torchs.LambdaLR(optimizer, lambda step: 0.8**step),
        torchs.ExponentialLR(optimizer, 0.7),
    ]
    return torchs.SequentialLR(optimizer, parts, [3, 8])


def chained(optimizer: torch.optim.Optimizer) -> Any:
    return torchs.ChainedScheduler(
        [torchs.ConstantLR(optimizer, 0.3, 4), torchs.ExponentialLR(optimizer, 0.9)]
    )


KEEP: dict[str, Make] = {
    "LambdaLR": lambda o: torchs.LambdaLR(o, lambda step: 1 / (1 + step)),
    "MultiplicativeLR": lambda o: torchs.MultiplicativeLR(o, lambda step: 0.9),
    "StepLR": lambda o: torchs.StepLR(o, 4, 0.3),
    "MultiStepLR": lambda o: torchs.MultiStepLR(o, [2, 7], 0.3),
    "ConstantLR": lambda o: torchs.ConstantLR(o, 0.2, 5),
    "LinearLR": lambda o: torchs.LinearLR(o, 0.1, total_iters=7),
    "ExponentialLR": lambda o: torchs.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda o: torchs.PolynomialLR(o, 2 * STEPS, 2.0),
    "CosineAnnealingLR": lambda o: torchs.CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: torchs.CosineAnnealingWarmRestarts(o, 3, 2),
    "SequentialLR": sequence,
    "ChainedScheduler": chained,
    "ReduceLROnPlateau": lambda o: torchs.ReduceLROnPlateau(o, patience=1, factor=0.5),
    "OneCycleLR, a rate for each": lambda o: torchs.OneCycleLR(
        o, [group["lr"] for group in o.param_groups], total_steps=STEPS + 1, cycle_momentum=False
    ),
    "CyclicLR, a rate for each": lambda o: torchs.CyclicLR(
        o,
        [0.1 * group["lr"] for group in o.param_groups],
        [group["lr"] for group in o.param_groups],
        step_size_up=3,
        cycle_momentum=False,
    ),
    "transformers' linear": lambda o: transformers.get_linear_schedule_with_warmup(o, 3, STEPS),
    "transformers' cosine": lambda o: transformers.get_cosine_schedule_with_warmup(o, 3, STEPS),
    "transformers' restarts": lambda o: transformers.get_cosine_with_hard_restarts_schedule_with_warmup(
        o, 2, STEPS, 2
    ),
    "transformers' inverse root": lambda o: transformers.get_inverse_sqrt_schedule(o, 3),
    "transformers' constant": lambda o: transformers.get_constant_schedule_with_warmup(o, 4),
}
# With a floor or a ceiling that is one for all groups; the plan's ratios are lost and a warning says so.
LOSE: dict[str, Make] = {
    "CosineAnnealingLR": lambda o: torchs.CosineAnnealingLR(o, 5, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda o: torchs.CosineAnnealingWarmRestarts(o, 3, eta_min=0.01),
    "ReduceLROnPlateau": lambda o: torchs.ReduceLROnPlateau(o, patience=0, min_lr=0.03),
    "OneCycleLR": lambda o: torchs.OneCycleLR(o, 0.1, total_steps=STEPS + 1, cycle_momentum=False),
    "CyclicLR": lambda o: torchs.CyclicLR(o, 0.01, 0.1, step_size_up=3, cycle_momentum=False),
}
TIMM = {
    "CosineLRScheduler": {"t_initial": STEPS, "warmup_t": 4},
    "StepLRScheduler": {"decay_t": 3, "decay_rate": 0.3, "warmup_t": 2},
    "MultiStepLRScheduler": {"decay_t": [2, 7], "decay_rate": 0.3},
    "PolyLRScheduler": {"t_initial": STEPS, "warmup_t": 3},
    "TanhLRScheduler": {"t_initial": STEPS},
}


def stepping(scheduler: Any, at: int) -> None:
    """Take a step of any kind of scheduler."""
    if isinstance(scheduler, torchs.ReduceLROnPlateau):
        scheduler.step(1.0)
    elif isinstance(scheduler, torchs.LRScheduler):
        scheduler.step()
    else:
        scheduler.step(at)


def reference(make: Make, rate: float = 1.0) -> list[float]:
    """Return the factor at each step: what the scheduler does to a single rate."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=rate)
    scheduler, found = make(optimizer), []
    for step in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"] / rate)
        optimizer.step()
        stepping(scheduler, step + 1)
    return found


def followed(make: Make, plan: Plan, lengths: list[int]) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Return the plan's rates and those that the groups have, at each step of a run over phases of these lengths."""
    model = Trunk()
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, 0)
    scheduler, found = make(optimizer), []
    places = [place for place, steps in enumerate(lengths) for _ in range(steps)][:STEPS]
    for step, place in enumerate(places):
        for index in range(places[step - 1] + 1 if step else 1, place + 1):
            enter_phase(model, optimizer, plan, index, factor="keep")
        found.append((phase_rates(plan, place), {g["name"]: float(g["lr"]) for g in optimizer.param_groups}))
        optimizer.step()
        stepping(scheduler, step + 1)
    return found


def across() -> Plan:
    return plan_of(Trunk(), *ACROSS, lr=0.05, name="sgd")


def holds(make: Make, lengths: list[int]) -> bool:
    """Whether every group has the plan's rate times the schedule's factor at each step."""
    return all(
        rates == {name: pytest.approx(rate * factor, rel=1e-9, abs=1e-15) for name, rate in planned.items()}
        for factor, (planned, rates) in zip(reference(make), followed(make, across(), lengths), strict=True)
    )


lengths = st.lists(st.integers(0, 5), min_size=5, max_size=5).map(
    lambda drawn: [1 + drawn[0], *drawn[1:4], STEPS]
)


@pytest.mark.parametrize("name", KEEP)
def test_every_group_follows_the_schedule_through_every_phase(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert holds(KEEP[name], [2, 3, 2, 1, STEPS])
    assert not caplog.messages


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(list(KEEP)), lengths=lengths)
def test_so_it_does_wherever_the_phases_meet(name: str, lengths: list[int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert holds(KEEP[name], lengths)


@pytest.mark.skipif(not timm_schedulers(), reason="timm is not installed")
@pytest.mark.parametrize("name", TIMM)
def test_so_it_does_under_timms(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, module in timm_schedulers().items():
        monkeypatch.setitem(sys.modules, path, module)
    kind = getattr(sys.modules["timm.scheduler"], name)
    assert holds(lambda optimizer: kind(optimizer, **TIMM[name]), [2, 3, 2, 1, STEPS])
    assert not caplog.messages


def ratios_hold(make: Make, plan: Plan) -> bool:
    """Whether at each step all groups have one factor."""
    for planned, rates in followed(make, plan, [6, STEPS]):
        factors = [rates[name] / rate for name, rate in planned.items() if rate]
        if factors != [pytest.approx(factors[0])] * len(factors):
            return False
    return True


@pytest.mark.parametrize("name", LOSE)
def test_a_floor_for_all_groups_is_said(name: str, caplog: pytest.LogCaptureFixture) -> None:
    two = (phase("two", {"match": "top", "state": "trainable", "lr_mult": 0.5}), phase("all", thaws("low")))
    with caplog.at_level(logging.WARNING, "freezeplan"):
        assert not ratios_hold(LOSE[name], plan_of(Trunk(), *two, lr=0.05, name="sgd"))
    said = [message for message in caplog.messages if message.startswith("a scheduler holds rates")]
    assert said and name in " ".join([*said, "OneCycleLR" if "`max_lr`" in said[0] else ""])


def test_one_rate_that_is_trained_alone_says_where_a_ceiling_is(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("ReduceLROnPlateau", "OneCycleLR", "CyclicLR"):
        plan = plan_of(Trunk(), *ACROSS[:2], lr=0.05, name="sgd")
        assert ratios_hold(LOSE[name], plan)
    assert not caplog.messages


def test_a_scheduler_that_was_built_before_the_first_phase_is_carried_too() -> None:
    model, plan = Trunk(), across()
    optimizer = build_optimizer(model, plan)
    scheduler = torchs.LambdaLR(optimizer, lambda step: 0.5**step)
    enter_phase(model, optimizer, plan, 0, factor="keep")
    optimizer.step()
    scheduler.step()
    enter_phase(model, optimizer, plan, 1, factor="keep")
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == list(phase_rates(plan, 1, 0.25).values())


def test_one_that_goes_on_from_the_phase_before_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Its factor is 1, so nothing else shows it."""
    model, plan = Trunk(), across()
    optimizer = build_optimizer(model, plan)
    enter_phase(model, optimizer, plan, 0)
    scheduler = torchs.LambdaLR(optimizer, lambda step: 1.0)
    with caplog.at_level(logging.WARNING, "freezeplan"):
        enter_phase(model, optimizer, plan, 1, factor=1.0)
        assert not caplog.messages
        enter_phase(model, optimizer, plan, 1)
    assert ["goes on from the rates of the phase before" in message for message in caplog.messages] == [True]
    assert scheduler.base_lrs != [group[PHASE_RATE] for group in optimizer.param_groups]


rate = st.floats(1e-6, 10)


@given(st.lists(st.tuples(rate | st.just(0.0), rate | st.just(0.0)), min_size=1), rate)
def test_a_proportion_is_kept(pairs: list[tuple[float, float]], share: float) -> None:
    before, after = map(list, zip(*pairs, strict=True))
    values = [share * rate for rate in before]
    found = in_proportion(values, before, after)
    wanted = share if any(before) else 1.0
    assert found == [pytest.approx(wanted * rate) for rate in after]


PLACES = [0, 0, 1, 1, 1, 2, 2, 3, 4, 4]


def trained(stop: int = len(PLACES), saved: Any = None) -> tuple[list[list[float]], Any]:
    """Train under one LambdaLR over all phases; return each step's rates, and what a checkpoint holds at the end."""
    model, plan = Trunk(), across()
    optimizer = build_optimizer(model, plan)
    if saved is None:
        enter_phase(model, optimizer, plan, 0)
    scheduler = torchs.LambdaLR(optimizer, lambda step: 0.9**step)

    def load() -> None:
        for item, state in zip((model, optimizer, scheduler), saved, strict=True):
            item.load_state_dict(state)

    begin, rates = scheduler.last_epoch if saved is None else saved[2]["last_epoch"], []
    if saved is not None:
        resume_from_checkpoint(
            model, optimizer, plan, load, phase=PLACES[begin - 1], next_phase=PLACES[begin]
        )
    for step in range(begin, stop):
        if step > begin and PLACES[step] != PLACES[step - 1]:
            enter_phase(model, optimizer, plan, PLACES[step], factor="keep")
        take_step(model, optimizer, step)
        rates.append([group["lr"] for group in optimizer.param_groups])
        scheduler.step()
    return rates, copy.deepcopy([item.state_dict() for item in (model, optimizer, scheduler)])


@pytest.mark.parametrize("stop", [1, 2, 5, 6, 8])
def test_a_scheduler_that_is_loaded_with_the_rest_goes_on(stop: int) -> None:
    rates, (model, *_) = trained()
    resumed, (again, *_) = trained(saved=trained(stop)[1])
    assert resumed == [pytest.approx(step) for step in rates[stop:]]
    assert all(torch.equal(again[name], value) for name, value in model.items())
