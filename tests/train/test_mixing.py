"""Runs whose tasks share the steps by their sizes: what is said of them, and stopped and resumed to the same bits."""

from __future__ import annotations

import json
from collections import Counter
from math import log
from pathlib import Path
from typing import Any

import pytest

from freezeplan.cli.compiling import compiled_spec
from freezeplan.render.training import task_facts, training_facts
from freezeplan.runs.events import Event, RunStarted, StepDone
from freezeplan.runs.verify import verify_run
from freezeplan.spec.tables import Spec
from freezeplan.train.phases import loss_factors
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from freezeplan.train.setup import prepare
from tests.train.phased import assert_same_tree, phased_spec, phases_of_every_kind
from tests.train.tiny import toy_data, toy_rows, toy_spec, write_jsonl

MIXINGS: dict[str, dict[str, Any]] = {
    "proportional": {"mixing": "proportional", "accumulation": 2},
    "temperature": {"mixing": "temperature", "temperature": 2.0, "checkpoint_steps": 3},
}


def unequal_spec(toy: Path, place: Path, **train: Any) -> Spec:
    """Return a spec in phases of every kind: 96 rows of a task, 20 of the other, in batches of 4."""
    few = write_jsonl(place / "few.jsonl", toy_rows(20, seed=5))
    mood = toy_data(toy, "mood") | {"train": str(few)}
    tasks = [
        {"name": "topic", "data": toy_data(toy, "topic"), "dropout": 0.1},
        {"name": "mood", "data": mood, "dropout": 0.1, "batch_size": 4},
    ]
    return phased_spec(toy, phases_of_every_kind(), task=tasks, train={"batch_size": 32, **train})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mixed")


@pytest.fixture(scope="module")
def runs(toy: Path, place: Path) -> dict[str, tuple[Path, list[Event]]]:
    """Return a finished run of each mixing, and what it told."""
    found = {}
    for name, table in MIXINGS.items():
        events: list[Event] = []
        folder = train(unequal_spec(toy, place, **table), place / name, events.append).folder
        found[name] = (folder, events)
    return found


@pytest.mark.parametrize("mixing", MIXINGS)
def test_the_steps_of_a_run_are_those_that_are_shown(
    toy: Path, place: Path, runs: dict[str, tuple[Path, list[Event]]], mixing: str
) -> None:
    folder, events = runs[mixing]
    shown = compiled_spec(unequal_spec(toy, place, **MIXINGS[mixing])).training["training"]["steps_per_epoch"]
    assert shown[3] is None and shown[2]["tasks"].keys() == {"topic", "mood"}
    first = Counter(
        task for event in events if isinstance(event, StepDone) and event.epoch == 1 for task in event.losses
    )
    assert first == shown[0]["tasks"] and first.total() == shown[0]["all"]
    (started,) = (event for event in events if isinstance(event, RunStarted))
    assert started.steps == shown[0]["all"] + 8 + 3 * shown[2]["all"] + 3
    assert verify_run(folder).holds


@pytest.mark.parametrize(("mixing", "step"), [("proportional", 11), ("temperature", 7), ("temperature", 16)])
def test_stopped_and_resumed_is_never_stopped(
    toy: Path, place: Path, tmp_path: Path, runs: dict[str, tuple[Path, list[Event]]], mixing: str, step: int
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            raise KeyboardInterrupt

    spec = unequal_spec(toy, place, **MIXINGS[mixing])
    assert train(spec, tmp_path / "run", stop).status == "interrupted"
    assert resume(tmp_path / "run").status == "finished"
    assert_same_tree(tmp_path / "run", runs[mixing][0])


def test_a_run_under_another_temperature_is_another_run(
    place: Path, tmp_path: Path, runs: dict[str, tuple[Path, list[Event]]]
) -> None:
    (checkpoint, *_) = sorted((runs["temperature"][0] / "checkpoints").iterdir())
    settings = json.loads((checkpoint / "state.json").read_text("utf-8"))["identity"]["settings"]
    assert (settings["train.temperature"], settings["task `mood`, batch_size"]) == (2.0, 4)


def test_a_loss_over_classes_is_divided_by_the_logarithm_of_their_number(toy: Path, tmp_path: Path) -> None:
    spec = toy_spec(
        toy,
        task=[
            {"name": "topic", "data": toy_data(toy, "topic"), "scale": "log_classes", "weight": 2.0},
            {"name": "mood", "data": toy_data(toy, "mood"), "scale": "log_classes"},
            {"name": "plain", "data": toy_data(toy, "mood"), "weight": 0.5},
        ],
    )
    factors = loss_factors(prepare(spec))
    assert factors == pytest.approx({"topic": 2 / log(3), "mood": 1 / log(2), "plain": 0.5})
    work = compiled_spec(spec)
    assert [text.partition(", loss ")[2] for _, text in task_facts(work.training)] == [
        "weight 2 / ln 3",
        "weight 1 / ln 2",
        "weight 0.5",
    ]


def test_the_shares_are_shown_for_each_stretch_of_phases(toy: Path, place: Path) -> None:
    work = compiled_spec(unequal_spec(toy, place, **MIXINGS["proportional"]))
    facts = list(training_facts(work.training, work.plan))
    assert facts == [
        (
            "training",
            "batches of 32, 2 of them per step (64 rows), one task per step, in proportion to its rows (proportional)",
        ),
        ("steps", "phases 1-3, 5 per epoch: topic 2 (40 %), mood 3 (60 %)"),
        ("steps", "phase 5, 5 per epoch: topic 2 (40 %), mood 3 (60 %)"),
    ]
