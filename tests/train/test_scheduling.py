"""Phases laid out over data: how long each is, what it learns, and warm-ups that fill it."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from freezeplan.inventory.from_module import inventory_of
from freezeplan.models.multitask import MultiTaskModel
from freezeplan.plan import Plan, compile_plan
from freezeplan.plan.learning import learning_tasks
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.scheduling import check_warmups, schedule_phases

HEADS = [{"match": "backbone", "state": "frozen"}, {"match": "heads", "state": "trainable"}]
TASKS = [{"name": name, "labels": ["a", "b"]} for name in ("topic", "mood")]
ROWS = {"topic": 100, "mood": 40}


def planned(*phases: dict[str, Any], **tables: Any) -> tuple[Spec, Plan]:
    model = MultiTaskModel(nn.Embedding(10, 4), 4, {"topic": (2, 0.0), "mood": (2, 0.0)})
    values = {"rule": HEADS, "task": TASKS, "train": {"batch_size": 10}, **tables}
    spec = load_spec(values | ({"phase": list(phases)} if phases else {}))
    return spec, compile_plan(inventory_of(model), spec)


def test_epochs_and_steps_of_each_kind_of_length() -> None:
    until = {"metric": "topic/accuracy", "patience": 1, "max_epochs": 4}
    tasks = [task | {"data": {"train": "t", "validation": "v"}} for task in TASKS]
    spec, plan = planned({"epochs": 2}, {"steps": 25}, {"until": until}, task=tasks)
    phases = schedule_phases(spec, plan, ROWS)
    assert [(item.steps, item.epochs) for item in phases] == [(40, 2), (25, 2), (80, 4)]
    assert [phases[1].epoch_end(step) for step in (0, 19, 20, 24)] == [20, 20, 25, 25]


def test_phases_that_share_a_schedule_share_its_steps() -> None:
    spec, plan = planned({"epochs": 1}, {"epochs": 1}, {"epochs": 2, "schedule": {"name": "linear"}})
    phases = schedule_phases(spec, plan, ROWS)
    assert [item.before for item in phases] == [0, 20, 0]
    assert [item.factor_at(0) for item in phases] == [1.0, 0.5, 1.0]
    assert phases[2].factor_at(20) == 0.5


def test_only_tasks_that_a_gradient_reaches_learn() -> None:
    one = [{"match": "heads.mood", "state": "frozen"}]
    nothing = [{"match": "heads.topic", "state": "frozen"}]
    everything = [{"match": "backbone", "state": "trainable"}]
    spec, plan = planned(
        {"epochs": 1},
        {"epochs": 1, "rule": one},
        {"epochs": 1, "rule": nothing},
        {"epochs": 1, "rule": everything},
    )
    found = [learning_tasks(spec, plan, phase) for phase in range(4)]
    assert found == [("topic", "mood"), ("topic",), (), ("topic", "mood")]
    phases = schedule_phases(spec, plan, ROWS)
    assert (phases[2].course, phases[2].steps, phases[2].epochs) == (None, 0, 0)
    assert [item.steps for item in phases] == [20, 10, 0, 20]


@pytest.mark.parametrize(
    ("tables", "phases", "where"),
    [
        ({"schedule": {"warmup": 60}}, (), "schedule.warmup"),
        ({}, ({"epochs": 1, "schedule": {"warmup": 20}},), "phase[1].schedule.warmup"),
    ],
)
def test_a_warm_up_that_fills_its_schedule_is_a_warning(tables: Any, phases: Any, where: str) -> None:
    spec, plan = planned(*phases, **tables)
    (found,) = check_warmups(spec, plan, schedule_phases(spec, plan, ROWS))
    assert (found.code, found.is_error, found.where) == ("FP467", False, where)


def test_a_warm_up_that_leaves_a_step_is_none() -> None:
    spec, plan = planned(schedule={"warmup": 59})
    assert check_warmups(spec, plan, schedule_phases(spec, plan, ROWS)) == ()
