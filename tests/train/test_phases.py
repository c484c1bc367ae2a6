"""Phases as they run: what moves in which, why each ends, what its evidence says, what comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.run_weights import weights_of_run
from freezeplan.runs.checkpoints.store import CheckpointStore
from freezeplan.runs.events import (
    EpochDone,
    Event,
    Finished,
    HeadDrifted,
    PhaseDone,
    PhaseStarted,
    RunStarted,
    StepDone,
    StoppedEarly,
)
from freezeplan.spec.tables import Spec
from freezeplan.train.loop import Loop
from freezeplan.train.run import RunResult, train
from tests.train.phased import ALL, POOLER, TOP, every_kind, phased_spec, stopping
from tests.train.vision import digits_spec, save_resnet, write_digits

WHOLE = [{"name": "all", "match": "**", "state": "trainable"}, {"name": "pooler", **POOLER}]


class Ran:
    """A run with its events and files."""

    def __init__(self, spec: Spec, out: Path) -> None:
        self.events: list[Event] = []
        self.result: RunResult = train(spec, out, self.events.append)
        self.folder = out

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def evidence(self) -> dict[str, Any]:
        return json.loads((self.folder / "evidence.json").read_text())

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def ran(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(every_kind(toy), tmp_path_factory.mktemp("phases") / "run")


def moved(phase: dict[str, Any]) -> set[str]:
    return {item["name"] for item in phase["tensors"] if item["moved"] and item["kind"] == "parameter"}


def test_in_each_phase_exactly_what_it_trains_moves(ran: Ran) -> None:
    plan = ran.result.plan
    assert plan is not None
    for index, phase in enumerate(ran.evidence["phases"]):
        trained = set(plan.names(index, trainable=True)) if phase["steps"] else set()
        assert moved(phase) == trained, phase["phase"]
        assert phase["violations"] == []
    assert [bool(moved(phase)) for phase in ran.evidence["phases"]] == [True, True, True, False, True]


def test_phases_begin_and_end_in_order_with_their_lengths(ran: Ran) -> None:
    names = ["heads", "top", "all", "nothing", "back"]
    assert [event.name for event in ran.of(PhaseStarted)] == names
    by_metric = [phase.length.unit == "until" for phase in ran.result.plan.phases]
    assert [event.can_end_early for event in ran.of(PhaseStarted)] == by_metric and any(by_metric)
    assert [event.name for event in ran.of(PhaseDone)] == names
    started = ran.of(PhaseStarted)
    assert [(event.epochs, event.steps) for event in started] == [(1, 6), (2, 8), (3, 18), (0, 0), (1, 3)]
    assert (started[1].thawed, started[1].refrozen) == (16, 0)
    assert started[3].tasks == () and started[3].refrozen == 39
    assert ran.evidence["phases"][3]["ended"] == "no task learns in it: evaluated only"
    (begun,) = ran.of(RunStarted)
    assert (begun.steps, begun.epochs) == (35, 7)


def test_a_phase_in_steps_is_evaluated_at_full_epochs_and_at_its_end(ran: Ran) -> None:
    epochs = [record for record in ran.log if record["kind"] == "epoch"]
    assert [record["step"] for record in epochs[:3]] == [6, 12, 14]


def test_only_groups_that_train_have_rates_and_their_ratios_are_the_plans(ran: Ran) -> None:
    plan = ran.result.plan
    assert plan is not None
    for index, phase in enumerate(ran.evidence["phases"]):
        rates = {group.name: group.lr[index] for group in plan.groups if group.lr[index] is not None}
        assert phase["rates"].keys() == (rates.keys() if phase["steps"] else set())
        for low, high, rate in [(*phase["rates"][name], rates[name]) for name in phase["rates"]]:
            assert 0.0 <= low <= high <= rate
    for record in [record for record in ran.log if record["kind"] == "step"]:
        rates = record["rates"]
        factors = {
            rate / group.lr[index]
            for group in plan.groups
            if (rate := rates.get(group.name)) is not None
            for index in range(5)
            if group.lr[index] is not None
        }
        assert max(factors) - min(factors) <= 1e-12


def test_the_best_epoch_comes_back_with_its_weights(toy: Path, tmp_path: Path) -> None:
    until = {"metric": "topic/loss", "patience": 2, "max_epochs": 6, "restore_best": True}
    rates = {"lr": 0.3, "weight_decay": 0.0}
    spec = phased_spec(
        toy,
        [{"name": "all", "until": until}],
        rule=WHOLE,
        optimizer=rates,
        train={"batch_size": 32, "keep_last": 9, "clip_norm": 100.0, "length_buckets": False},
        schedule={"name": "constant"},
    )
    ran = Ran(spec, tmp_path / "run")
    losses = [event.scores["topic"]["loss"] for event in ran.of(EpochDone)]
    best = losses.index(min(losses))
    (done,) = ran.of(PhaseDone)
    assert best < len(losses) - 1, "the rate must be high enough to make things worse"
    assert (done.restored, done.scores["topic"]["loss"]) == (best + 1, losses[best])
    assert ran.result.validation["topic"]["loss"] == losses[best]
    store = CheckpointStore(tmp_path / "run")
    names = store.names()
    saved, wanted = (weights_of_run(tmp_path / "run", names[at]) for at in (-1, best))
    assert all(torch.equal(saved[name], wanted[name]) for name in saved)
    states = [load_file(store.folder / names[at] / "optimizer.safetensors") for at in (-1, best)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    published = weights_of_run(tmp_path / "run")
    assert all(torch.equal(published[name], wanted[name]) for name in published)


def test_a_phase_ends_at_its_target(toy: Path, tmp_path: Path) -> None:
    until = {"metric": "mood/accuracy", "target": 0.1, "max_epochs": 5}
    spec = phased_spec(toy, [{"name": "a", "until": until}, {"name": "b", "steps": 2, "rule": [TOP]}])
    ran = Ran(spec, tmp_path / "run")
    assert [event.epoch for event in ran.of(EpochDone)] == [1, 2]
    assert "reached the target 0.1" in ran.evidence["phases"][0]["ended"]


def test_the_run_ends_at_the_first_evaluation_that_satisfies(toy: Path, tmp_path: Path) -> None:
    ran = Ran(stopping(toy), tmp_path / "run")
    (stopped,) = ran.of(StoppedEarly)
    values = [event.scores["mood"]["macro_f1"] for event in ran.of(EpochDone)]
    assert values[-1] >= 0.45 and all(value < 0.45 for value in values[:-1])
    assert len(values) < 6 and len(ran.of(PhaseStarted)) < 3
    assert ran.result.ended_early == stopped.reason == f"mood/macro_f1 {values[-1]:.4f} is at least 0.45"
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["ended"], record["status"]) == (stopped.reason, "finished")
    assert isinstance(ran.events[-1], Finished)
    assert f"{len(ran.of(PhaseStarted))} of 3 phases" in ran.result.statement


def test_each_task_goes_on_where_the_phase_before_left_it(toy: Path, tmp_path: Path) -> None:
    seen: dict[str, list[tuple[int, ...]]] = {"topic": [], "mood": []}

    class Recorder:
        def __call__(self, loop: Loop, parts: Any) -> Any:
            for part in parts:
                seen[part.task].append(part.rows)
            return original(loop, parts)

    original, recorder = Loop._step, Recorder()
    steps = [{"steps": count, "rule": [TOP] if count == 7 else []} for count in (5, 7, 8, 4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_step", lambda loop, parts: recorder(loop, parts))
        train(phased_spec(toy, steps), tmp_path / "run")
    for rows in seen.values():
        for first in range(0, len(rows) - 2, 3):
            assert sorted(row for batch in rows[first : first + 3] for row in batch) == list(range(96))
    assert {task: len(rows) for task, rows in seen.items()} == {"topic": 13, "mood": 11}


def test_a_frozen_heads_drift_is_counted_from_its_freeze(toy: Path, tmp_path: Path) -> None:
    frozen = {"match": "heads.mood", "state": "frozen"}
    phases = [
        {"name": "heads", "epochs": 1},
        {"name": "mood frozen", "epochs": 1, "rule": [ALL, POOLER, frozen]},
        {"name": "longer", "epochs": 1},
        {"name": "thawed", "epochs": 1, "rule": [{"match": "heads.mood", "state": "trainable"}]},
    ]
    ran = Ran(phased_spec(toy, phases, optimizer={"lr": 0.01}), tmp_path / "run")
    scores = [event.scores["mood"] for event in ran.of(EpochDone)]
    drifts = ran.of(HeadDrifted)
    assert [(event.task, event.since, event.phase) for event in drifts] == [
        ("mood", "mood frozen", "mood frozen"),
        ("mood", "mood frozen", "longer"),
    ]
    assert [event.before for event in drifts] == [scores[0], scores[0]]
    assert [event.after for event in drifts] == [scores[1], scores[2]]
    (drift,) = ran.evidence["phases"][2]["drift"]
    assert drift["changes"]["loss"] == scores[2]["loss"] - scores[0]["loss"] != 0.0
    assert ran.evidence["phases"][3]["drift"] == []


def test_a_head_that_is_frozen_from_the_start_is_measured_before_the_first_step(
    toy: Path, tmp_path: Path
) -> None:
    rules = [*WHOLE, {"match": "heads.mood", "state": "frozen"}]
    ran = Ran(phased_spec(toy, [], rule=rules, train={"epochs": 1, "batch_size": 32}), tmp_path / "run")
    (drift,) = ran.of(HeadDrifted)
    untrained = Ran(phased_spec(toy, [], rule=[{"match": "**", "state": "frozen"}]), tmp_path / "untrained")
    assert drift.before == untrained.result.validation["mood"]
    assert drift.after == ran.result.validation["mood"] != drift.before


@pytest.mark.parametrize("counted", [True, False])
def test_a_tensor_that_moves_in_a_phase_that_froze_it_names_the_phase(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: bool
) -> None:
    step = Loop._step

    def meddle(self: Loop, parts: Any) -> Any:
        if self.scheduled.phase.name == "b":
            bias = self.model.heads["mood"].linear.bias
            with torch.no_grad():
                (bias if counted else bias.data).add_(1e-6)
        return step(self, parts)

    monkeypatch.setattr(Loop, "_step", meddle)
    phases = [
        {"name": "a", "steps": 2},
        {"name": "b", "steps": 2, "rule": [{"match": "heads.mood", "state": "frozen"}]},
        {"name": "c", "steps": 2, "rule": [{"match": "heads.mood", "state": "trainable"}]},
    ]
    with pytest.raises(DiagnosticError) as caught:
        train(phased_spec(toy, phases), tmp_path / "run")
    (found,) = [item for item in caught.value.diagnostics if item.is_error]
    assert (found.code, "moved during phase `b`: `heads.mood.linear.bias`" in found.message) == (
        "FP510",
        True,
    )
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {"name": "adamw", "lr": 0.01, "weight_decay": 0.1},
    "sgd": {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.1},
    "adagrad": {"name": "adagrad", "lr": 0.01, "weight_decay": 0.1, "initial_accumulator_value": 0.1},
}


@pytest.mark.parametrize("thaw", ["keep", "reset"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_thaw_freeze_and_thaw_again_move_nothing_that_is_frozen(
    toy: Path, tmp_path: Path, name: str, thaw: str
) -> None:
    bottom = "@layers[0]"
    phases = [
        {"name": "all", "steps": 4},
        {"name": "less", "steps": 4, "rule": [{"match": bottom, "state": "frozen"}]},
        {"name": "again", "steps": 4, "on_thaw": thaw, "rule": [{"match": bottom, "state": "trainable"}]},
    ]
    tables = {"rule": WHOLE, "optimizer": OPTIMIZERS[name], "schedule": {"name": "constant"}}
    spec = phased_spec(toy, phases, **tables)
    ran = Ran(spec, tmp_path / "run")
    assert [phase["violations"] for phase in ran.evidence["phases"]] == [[], [], []]
    plan = ran.result.plan
    assert plan is not None
    for index, phase in enumerate(ran.evidence["phases"]):
        assert moved(phase) == set(plan.names(index, trainable=True))


def last_state(folder: Path) -> dict[str, torch.Tensor]:
    store = CheckpointStore(folder)
    return load_file(store.folder / store.names()[-1] / "optimizer.safetensors")


@pytest.mark.parametrize(("thaw", "steps"), [("keep", 6.0), ("reset", 2.0)])
def test_what_thaws_again_keeps_or_drops_its_optimizer_state(
    toy: Path, tmp_path: Path, thaw: str, steps: float
) -> None:
    phases = [
        {"steps": 4},
        {"steps": 3, "rule": [{"match": "@layers[0]", "state": "frozen"}]},
        {"steps": 2, "on_thaw": thaw, "rule": [{"match": "@layers[0]", "state": "trainable"}]},
    ]
    train(phased_spec(toy, phases, rule=WHOLE), tmp_path / "run")
    state = last_state(tmp_path / "run")
    assert float(state["backbone.encoder.layer.0.output.dense.weight/step"]) == steps
    assert float(state["backbone.encoder.layer.1.output.dense.weight/step"]) == 9.0


def test_batch_norm_stays_still_while_frozen(tmp_path: Path) -> None:
    write_digits(tmp_path)
    save_resnet(tmp_path / "resnet")
    phases = [
        {"steps": 2},
        {"steps": 2, "rule": [{"match": "backbone", "state": "trainable"}]},
        {"steps": 2, "rule": [{"match": "backbone", "state": "frozen"}]},
    ]
    rules = [{"match": "backbone", "state": "frozen"}, {"match": "heads", "state": "trainable"}]
    tables = {"rule": rules, "phase": phases, "train": {"batch_size": 32, "mixing": "joint"}}
    ran = Ran(digits_spec(tmp_path, {"source": str(tmp_path / "resnet")}, **tables), tmp_path / "run")
    first, second, third = (
        {item["name"]: item for item in phase["tensors"] if item["kind"] == "buffer"}
        for phase in ran.evidence["phases"]
    )
    means = [name for name in first if name.endswith("running_mean")]
    assert len(means) > 4
    assert all(first[name]["frozen"] and not first[name]["moved"] for name in first)
    assert all(second[name]["moved"] and not second[name]["frozen"] for name in means)
    assert all(third[name]["frozen"] and not third[name]["moved"] for name in third)


def test_the_report_of_a_phase_names_what_no_gradient_reached(toy: Path, tmp_path: Path) -> None:
    thaw: Callable[[str], dict[str, str]] = lambda match: {"match": match, "state": "trainable"}  # noqa: E731
    spec = phased_spec(toy, [{"name": "a", "steps": 2, "rule": [thaw("backbone.pooler")]}])
    ran = Ran(spec, tmp_path / "run")
    (phase,) = ran.evidence["phases"]
    assert phase["no_gradient"] == ["backbone.pooler.dense.weight", "backbone.pooler.dense.bias"]
    (done,) = ran.of(PhaseDone)
    assert "no gradient reached 2 trainable tensors: `backbone.pooler.dense.weight`" in done.line
    assert len(ran.of(StepDone)) == 2


def test_a_phase_without_a_task_can_come_first(toy: Path, tmp_path: Path) -> None:
    frozen, thaw = [{"match": "**", "state": "frozen"}], [{"match": "heads", "state": "trainable"}]
    phases = [{"name": "look", "epochs": 1}, {"name": "heads", "steps": 2, "rule": thaw}]
    ran = Ran(phased_spec(toy, phases, rule=frozen), tmp_path / "run")
    assert [phase["steps"] for phase in ran.evidence["phases"]] == [0, 2]
    assert [record["kind"] for record in ran.log if record["kind"] != "step"] == [
        "evaluation",
        "phase",
        "epoch",
        "phase",
        "evaluation",
    ]
