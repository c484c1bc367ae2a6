"""One factor per step: by name, over a stretch of phases, and never below nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_scheduler

from freezeplan.apply.schedules import schedule_factor, slanted_triangular, stretch_steps, warmup_steps
from freezeplan.plan.records import PhaseSchedule, Plan
from freezeplan.spec.table import ScheduleName
from tests.apply.splitting import plan_training

NAMES = get_args(ScheduleName)
CASES = [
    (name, warmup)
    for name in NAMES
    for warmup in (0, 3, 0.25)
    if not warmup or name not in ("constant", "slanted_triangular")
]


def schedule(name: str, warmup: int | float = 0, stretch: int = 0, **options: float) -> PhaseSchedule:
    return PhaseSchedule(name, warmup, tuple(sorted(options.items())), stretch)


@pytest.mark.parametrize(("name", "warmup"), CASES)
def test_factors_are_in_reach_and_reach_the_rate(name: str, warmup: float) -> None:
    factor = schedule_factor(schedule(name, warmup), 20)
    seen = [factor(step) for step in range(20)]
    assert max(seen) == 1.0
    assert min(seen) >= 0.0
    assert seen == [factor(step) for step in range(20)]


@pytest.mark.parametrize(("name", "warmup"), [case for case in CASES if case[0] != "slanted_triangular"])
def test_they_are_what_transformers_does_to_an_optimizer(name: str, warmup: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    floor = {"lr_end": 0.0} if name == "polynomial" else None
    steps = warmup_steps(schedule(name, warmup), 20)
    theirs = get_scheduler(name, optimizer, steps, 20, scheduler_specific_kwargs=floor)
    factor = schedule_factor(schedule(name, warmup), 20)
    for step in range(20):
        assert theirs.get_last_lr() == [factor(step)]
        optimizer.step()
        theirs.step()


def test_the_slanted_triangle_by_hand() -> None:
    factor = schedule_factor(schedule("slanted_triangular", cut_frac=0.25, ratio=4.0), 8)
    assert [factor(step) for step in (0, 1, 2, 5)] == [0.25, 0.625, 1.0, 0.625]
    assert factor(8) == 0.25


def test_the_defaults_are_the_papers() -> None:
    assert slanted_triangular(0, steps=100) == 1 / 32
    assert [step for step in range(100) if slanted_triangular(step, steps=100) == 1.0] == [10]


@given(st.integers(1, 400), st.floats(0.001, 0.999), st.floats(1.0, 1000.0))
def test_the_slanted_triangle_rises_to_the_cut_and_then_falls(
    steps: int, cut_frac: float, ratio: float
) -> None:
    seen = [slanted_triangular(step, steps=steps, cut_frac=cut_frac, ratio=ratio) for step in range(steps)]
    peak = seen.index(max(seen))
    assert seen[peak] == pytest.approx(1.0)
    assert all(1 / ratio - 1e-9 <= factor <= 1.0 + 1e-9 for factor in seen)
    assert seen[: peak + 1] == sorted(seen[: peak + 1])
    assert seen[peak:] == sorted(seen[peak:], reverse=True)


def test_the_papers_own_denominator_would_go_below_its_floor() -> None:
    steps, cut_frac, ratio = 19, 0.1, 32
    cut = 1
    p = 1 - (steps - 1 - cut) / (cut * (1 / cut_frac - 1))
    assert (1 + p * (ratio - 1)) / ratio < 0
    assert slanted_triangular(steps - 1, steps=steps) > 1 / ratio


def test_the_paper_and_ours_agree_where_the_cut_is_whole() -> None:
    steps, cut_frac, ratio, cut = 40, 0.1, 32, 4
    for step in range(cut, steps):
        p = 1 - (step - cut) / (cut * (1 / cut_frac - 1))
        assert slanted_triangular(step, steps=steps) == pytest.approx((1 + p * (ratio - 1)) / ratio)


def test_the_numbers_of_allennlp(shared: Path) -> None:
    cases = json.loads((shared / "conformance" / "peer_cases.json").read_text("utf-8"))
    case = next(case for case in cases if case["id"] == "allennlp-stlr")
    settings = case["config"]
    steps = settings["num_epochs"] * settings["steps_per_epoch"]
    options = {key: settings[key] for key in ("cut_frac", "ratio")}
    factor = schedule_factor(schedule("slanted_triangular", **options), steps)
    for step, layer, rate in case["expected"]["discriminative_0.5"]:
        assert factor(step) * 0.5 ** (1 - layer) == pytest.approx(rate, abs=1e-6)


@pytest.mark.parametrize(
    ("written", "steps", "counted"), [(0.07, 100, 7), (0.071, 100, 8), (7, 100, 7), (0.0, 9, 0)]
)
def test_warm_up_counts_steps_or_a_share_of_them_as_it_is_written(
    written: int | float, steps: int, counted: int
) -> None:
    assert warmup_steps(schedule("linear", written), steps) == counted


def test_the_cut_is_where_it_is_written() -> None:
    # In floating point, 0.29 * 100 is a little less than 29.
    seen = [slanted_triangular(step, steps=100, cut_frac=0.29) for step in range(100)]
    assert seen.index(1.0) == 29


def plan_of_stretches(*stretches: int) -> Plan:
    """Return a plan whose phases belong to these stretches."""
    plan = plan_training(torch.nn.Linear(2, 1), ["weight", "bias"])
    phases = [replace(plan.phases[0], schedule=schedule("linear", 0, stretch)) for stretch in stretches]
    return replace(plan, phases=tuple(phases))


def test_phases_that_share_a_schedule_are_one_stretch() -> None:
    plan = plan_of_stretches(0, 0, 2, 3, 3)
    found = [stretch_steps(plan, [5, 7, 2, 4, 6], phase) for phase in range(5)]
    assert found == [(0, 12), (5, 12), (0, 2), (0, 10), (4, 10)]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=1, max_size=8))
def test_stretches_cover_the_run_without_gaps(drawn: list[tuple[bool, int]]) -> None:
    begins, steps = [True, *(flag for flag, _ in drawn[1:])], [count for _, count in drawn]
    stretches = [max(at for at in range(phase + 1) if begins[at]) for phase in range(len(drawn))]
    plan = plan_of_stretches(*stretches)
    seen: dict[int, list[int]] = {}
    for phase, count in enumerate(steps):
        before, whole = stretch_steps(plan, steps, phase)
        assert before + count <= whole
        seen.setdefault(stretches[phase], []).extend(range(before, before + count))
        if phase + 1 == len(steps) or begins[phase + 1]:
            assert seen[stretches[phase]] == list(range(whole))


def test_lengths_of_other_phases_are_refused() -> None:
    with pytest.raises(ValueError, match="2 phases, but 1 lengths"):
        stretch_steps(plan_of_stretches(0, 0), [4], 0)
