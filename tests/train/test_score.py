"""One score over several tasks steers a run: measured, logged, kept, brought back, resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from freezeplan.apply.ending import metric_value
from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.events import BestRestored, EpochDone, Event, StepDone, StoppedEarly
from freezeplan.spec.tables import Spec
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from tests.train.phased import UNTIL, assert_same_tree, phased_spec
from tests.train.tiny import toy_spec

SCORE = {"topic/macro_f1": 1.0, "mood/loss": -0.5}
TRAIN = {"epochs": 4, "batch_size": 32, "clip_norm": 100.0, "score": SCORE}


def steered(toy: Path, **more: Any) -> Spec:
    """Return a spec whose rate is high enough to make things worse again, steered by the score."""
    table = TRAIN | {"keep_best": "score", "restore_best": "score"} | more
    return toy_spec(toy, optimizer={"lr": 0.3}, schedule={"name": "constant"}, train=table)


def by_hand(scores: Any) -> float:
    return (scores["topic"]["macro_f1"] - 0.5 * scores["mood"]["loss"]) / 1.5


def test_a_run_ends_with_the_epoch_of_the_best_score_also_when_it_was_stopped(
    toy: Path, tmp_path: Path
) -> None:
    seen: list[Event] = []
    result = train(steered(toy), tmp_path / "whole", seen.append)
    done = [event for event in seen if isinstance(event, EpochDone)]
    scores = [by_hand(event.scores) for event in done]
    assert [event.score for event in done] == pytest.approx(scores, rel=1e-12)
    best = scores.index(max(scores))
    assert best < len(scores) - 1, "the last epoch must not be the best one"
    (restored,) = (event for event in seen if isinstance(event, BestRestored))
    assert (restored.epoch, restored.metric, restored.value) == (best + 1, "score", done[best].score)

    def stop(event: Event) -> None:
        if isinstance(event, StepDone) and event.epoch == len(scores):
            raise KeyboardInterrupt

    train(steered(toy), tmp_path / "run", stop)
    assert resume(tmp_path / "run").validation == result.validation
    assert_same_tree(tmp_path / "run", tmp_path / "whole")
    check_written(tmp_path / "run", scores, best)


def check_written(folder: Path, scores: list[float], best: int) -> None:
    """Compare what stands in a run's files with the scores of its epochs."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text("utf-8").splitlines())
    logged = [line["score"] for line in lines if line["kind"] == "epoch"]
    assert logged == pytest.approx(scores, rel=1e-12)
    record = json.loads((folder / "run.json").read_text("utf-8"))
    assert record["scores"]["validation"]["score"] == logged[best]
    assert record["scores"]["test"]["score"] == pytest.approx(by_hand(record["scores"]["test"]["scores"]))
    assert (record["best"]["metric"], record["best"]["value"]) == ("score", logged[best])
    assert json.loads((folder / "plan.json").read_text("utf-8"))["score"] == SCORE


def test_a_run_does_not_go_on_under_another_score(toy: Path, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, StepDone) and event.epoch == 2:
            raise KeyboardInterrupt

    train(steered(toy), tmp_path / "run", stop)
    other = steered(toy, score=["topic/accuracy", "mood/accuracy"])
    with pytest.raises(DiagnosticError) as caught:
        resume(tmp_path / "run", spec=other, allow=("epochs",))
    (problem,) = caught.value.diagnostics
    assert problem.code == "FP545" and problem.notes[0].startswith("train.score was")


def test_the_score_ends_a_phase_and_the_run(toy: Path, tmp_path: Path) -> None:
    until = UNTIL | {"metric": "score", "patience": 3, "target": -9.0, "restore_best": False}
    stop = {"metric": "score", "at_least": -8.0}
    train_table = {"batch_size": 32, "score": SCORE, "stop_when": stop}
    seen: list[Event] = []
    phases = [{"name": "heads", "until": until}, {"name": "more", "epochs": 2}]
    result = train(phased_spec(toy, phases, train=train_table), tmp_path / "run", seen.append)
    (stopped,) = (event for event in seen if isinstance(event, StoppedEarly))
    value = metric_value("score", result.validation, tuple(SCORE.items()))
    assert result.epoch == 1 and stopped.reason == f"score {value:.4f} is at least -8"
