from __future__ import annotations

import json
from pathlib import Path

from freezeplan.runs.events import Event, RunStarted, StepDone
from freezeplan.train.run import RunResult, train
from tests.train.tiny import toy_data, toy_spec

ONE_HEAD = [
    {"match": "**", "state": "frozen"},
    {"match": "heads.mood", "state": "trainable"},
]


def _run(toy: Path, out: Path, rules: list[dict], **tables) -> tuple[RunResult, list[Event]]:
    events: list[Event] = []
    return train(toy_spec(toy, rule=rules, **tables), out, events.append), events


def _of(events: list[Event], kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


def test_a_task_with_nothing_to_learn_is_evaluated_and_not_trained(toy, tmp_path):
    result, events = _run(toy, tmp_path / "run", ONE_HEAD)
    (started,) = _of(events, RunStarted)
    assert started.only_evaluated == ("topic",)
    assert {task for step in _of(events, StepDone) for task in step.losses} == {"mood"}
    assert result.validation.keys() == {"topic", "mood"}
    # Two epochs over 96 rows in batches of 16, of one task alone.
    assert started.steps == 12


def test_the_frozen_head_answers_as_before_whatever_the_other_learns(toy, tmp_path):
    before, _ = _run(toy, tmp_path / "before", [{"match": "**", "state": "frozen"}])
    after, _ = _run(toy, tmp_path / "after", ONE_HEAD)
    assert after.test["topic"] == before.test["topic"]
    assert after.test["mood"] != before.test["mood"]


def test_a_task_with_nothing_to_learn_needs_no_training_data(toy, tmp_path):
    topic = {key: value for key, value in toy_data(toy, "topic").items() if key != "train"}
    tasks = [
        {"name": "topic", "data": topic, "labels": ["fruit", "tool", "animal"]},
        {"name": "mood", "data": toy_data(toy, "mood")},
    ]
    labels = sorted({json.loads(line)["topic"] for line in (toy / "train.jsonl").open()})
    tasks[0]["labels"] = labels
    result, _ = _run(toy, tmp_path / "run", ONE_HEAD, task=tasks)
    assert result.status == "finished" and "topic" in result.test


def test_a_trainable_tensor_that_no_forward_uses_is_a_warning_and_no_crash(toy, tmp_path):
    rules = [{"match": "**", "state": "frozen"}, {"match": "@pooler", "state": "trainable"}]
    result, _ = _run(toy, tmp_path / "run", rules)
    assert "0 of 2 trainable tensors moved" in result.statement
    assert any("no gradient" in item.message + " ".join(item.notes) for item in result.diagnostics)
