"""Where a run stands: against a run that is lived through step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.apply.timetable import NextStep, Timetable
from freezeplan.plan.records import Length, PhaseSchedule, Plan, Target
from tests.apply.splitting import plan_training

METRIC, OTHER = "topic/accuracy", "mood/accuracy"
PLAN = plan_training(torch.nn.Linear(2, 1), ["weight", "bias"])


def plan_of(*lengths: Length, stop: Target | None = None) -> Plan:
    """Return a plan with phases of these lengths, each with a schedule of its own."""
    phases = [
        replace(PLAN.phases[0], name=str(at), length=length, schedule=PhaseSchedule("linear", 0, (), at))
        for at, length in enumerate(lengths)
    ]
    return replace(PLAN, phases=tuple(phases), stop_when=stop)


lengths = st.one_of(
    st.builds(Length, st.just("steps"), st.integers(1, 9)),
    st.builds(Length, st.just("epochs"), st.integers(1, 3)),
    st.builds(
        lambda count, patience: Length("until", count, METRIC, patience=patience),
        st.integers(1, 4),
        st.integers(1, 2),
    ),
)
values = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.9]), min_size=60, max_size=60)


def lived(plan: Plan, epoch: int, drawn: list[float]) -> tuple[list[NextStep], dict[str, dict[int, float]]]:
    """Go through a run as a plain loop would; return where each step was, and what was measured when."""
    places, measured, left = [], {METRIC: {}, OTHER: {}}, list(drawn)
    for index, phase in enumerate(plan.phases):
        steps = phase.length.count * (1 if phase.length.unit == "steps" else epoch)
        best, waited = -1.0, 0
        for step in range(steps):
            places.append(NextStep(index, step))
            if (step + 1) % epoch and step + 1 != steps:
                continue
            value = left.pop(0)
            if phase.length.unit == "until" or plan.stop_when:
                measured[METRIC if phase.length.unit == "until" else OTHER][len(places)] = value
            if plan.stop_when and phase.length.unit != "until" and value >= plan.stop_when.at_least:
                return places, measured
            best, waited = (value, 0) if value > best else (best, waited + 1)
            if phase.length.unit == "until" and waited >= phase.length.patience:
                break
    return places, measured


@pytest.mark.parametrize("stop", [None, Target(OTHER, 0.9)])
@given(st.lists(lengths, min_size=1, max_size=5), st.integers(1, 5), values)
def test_every_step_lies_where_the_run_was(
    stop: Any, drawn: list[Length], epoch: int, numbers: list[float]
) -> None:
    plan = plan_of(*drawn, stop=stop)
    table = Timetable(plan, epoch)
    places, measured = lived(plan, epoch, numbers)
    assert [table.place(step, measured) for step in range(len(places) + 1)] == [*places, None]


@given(st.lists(lengths, min_size=1, max_size=5), st.integers(1, 5), values)
def test_what_is_to_be_measured_is_what_the_run_measured(
    drawn: list[Length], epoch: int, numbers: list[float]
) -> None:
    plan = plan_of(*drawn)
    table = Timetable(plan, epoch)
    places, measured = lived(plan, epoch, numbers)
    due = [step for step in range(1, len(places) + 1) if table.to_measure(step, measured)]
    assert due == sorted(measured[METRIC])


@given(st.lists(lengths, min_size=1, max_size=5), st.integers(1, 5))
def test_nothing_measured_is_the_longest_run(drawn: list[Length], epoch: int) -> None:
    table = Timetable(plan_of(*drawn), epoch)
    assert table.place(table.steps - 1) is not None
    assert table.place(table.steps) is None
    assert table.steps == sum(table.phase_steps)


def test_steps_alone_need_no_epochs() -> None:
    table = Timetable(plan_of(Length("steps", 3), Length("steps", 2)), None)
    assert (table.steps, table.place(3)) == (5, NextStep(1, 0))


def test_only_the_end_of_an_epoch_counts() -> None:
    plan = plan_of(Length("epochs", 2), stop=Target(METRIC, 0.5))
    table = Timetable(plan, 4)
    assert table.place(4, {METRIC: {3: 0.9}}) == NextStep(0, 4)
    assert table.place(4, {METRIC: {4: 0.9}}) is None


def test_the_factor_runs_over_the_stretch() -> None:
    plan = plan_of(Length("steps", 4), Length("steps", 6))
    own = Timetable(plan, None)
    assert [own.factor(NextStep(1, step)) for step in (0, 3)] == [1.0, 0.5]
    shared = replace(plan.phases[1], schedule=plan.phases[0].schedule)
    joint = Timetable(replace(plan, phases=(plan.phases[0], shared)), None)
    assert [joint.factor(NextStep(1, step)) for step in (0, 1)] == [0.6, 0.5]


def test_a_phase_that_trains_nothing_takes_no_step_but_is_entered() -> None:
    plan = plan_of(Length("steps", 2), Length("epochs", 1), Length("steps", 3))
    idle = replace(plan.phases[1], trainable_numel=0)
    table = Timetable(replace(plan, phases=(plan.phases[0], idle, plan.phases[2])), 4)
    assert table.phase_steps == (2, 0, 3)
    assert [table.place(step) for step in (1, 2, 4)] == [NextStep(0, 1), NextStep(2, 0), NextStep(2, 2)]
    entered = [list(table.to_enter(NextStep(*where))) for where in ((0, 0), (2, 0), (2, 1))]
    assert entered == [[0], [1, 2], [2]]
