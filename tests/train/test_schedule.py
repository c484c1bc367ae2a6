"""One factor for every group: ratios between groups stay what the plan says, at every step."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from freezeplan.spec.tables import ScheduleTable, Spec
from freezeplan.train.schedule import build_schedule, check_schedule, warmup_steps

NAMES = get_args(ScheduleTable.model_fields["name"].annotation)
RATES = (2e-5, 3e-3, 7e-4, 1e-7)


def rates_over_a_run(table: ScheduleTable, steps: int) -> list[list[float]]:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in RATES]
    optimizer = torch.optim.SGD(groups, lr=1e-3)
    schedule, seen = build_schedule(table, optimizer, steps), []
    for _ in range(steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return seen


def test_every_schedule_of_the_language_is_tested() -> None:
    assert len(NAMES) >= 7


CASES = [(name, warmup) for name in NAMES for warmup in (0, 5, 0.25) if name != "constant" or not warmup]


@pytest.mark.parametrize(("name", "warmup"), CASES)
def test_ratios_between_groups_are_constant(name: str, warmup: float) -> None:
    seen = rates_over_a_run(ScheduleTable(name=name, warmup=warmup), 20)
    assert any(rates[0] > 0 for rates in seen)
    for rates in seen:
        factor = rates[0] / RATES[0]
        assert rates == pytest.approx([rate * factor for rate in RATES], rel=1e-12, abs=0.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_rate_without_warm_up_is_the_plans(name: str) -> None:
    assert rates_over_a_run(ScheduleTable(name=name), 20)[0] == list(RATES)


def test_the_polynomial_schedule_has_no_absolute_floor() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1e-8, 1e-2)]
    optimizer = torch.optim.SGD(groups, lr=1e-8)
    schedule = build_schedule(ScheduleTable(name="polynomial"), optimizer, 4)
    for _ in range(4):
        optimizer.step()
        schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0]


def test_warm_up_counts_steps_or_a_share_of_them() -> None:
    assert warmup_steps(ScheduleTable(warmup=7), 100) == 7
    assert warmup_steps(ScheduleTable(warmup=0.061), 100) == 7


def test_a_warm_up_as_long_as_the_run_is_a_warning() -> None:
    (found,) = check_schedule(Spec(schedule=ScheduleTable(warmup=100)), 100)
    assert (found.code, found.is_error) == ("FP467", False)
    assert check_schedule(Spec(schedule=ScheduleTable(warmup=99)), 100) == ()
