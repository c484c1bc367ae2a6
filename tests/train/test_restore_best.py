"""``train.restore_best`` ends a run without phases with its best epoch, by the mechanism that phases have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from freezeplan.api import load_spec
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.render.schedule import length_text
from freezeplan.runs.events import BestRestored, EpochDone, Event, StepDone
from freezeplan.spec.tables import Spec
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from tests.train.phased import assert_same_tree
from tests.train.tiny import toy_spec

TRAIN = {"epochs": 4, "batch_size": 32, "clip_norm": 100.0, "restore_best": "topic/loss"}


def overshooting(toy: Path, **more: Any) -> Spec:
    """Return a spec whose rate is high enough to make things worse again."""
    rates = {"lr": 0.3}
    return toy_spec(toy, optimizer=rates, schedule={"name": "constant"}, train=TRAIN | more)


def test_the_run_ends_with_its_best_epoch_also_when_it_was_stopped(toy: Path, tmp_path: Path) -> None:
    seen: list[Event] = []
    result = train(overshooting(toy), tmp_path / "whole", seen.append)
    losses = [event.scores["topic"]["loss"] for event in seen if isinstance(event, EpochDone)]
    best = losses.index(min(losses))
    assert best < len(losses) - 1, "the last epoch must not be the best one"
    assert [event for event in seen if isinstance(event, BestRestored)] == [
        BestRestored(best + 1, "topic/loss", losses[best])
    ]
    assert result.validation["topic"]["loss"] == losses[best]

    def stop(event: Event) -> None:
        if isinstance(event, StepDone) and event.epoch == len(losses):
            raise KeyboardInterrupt

    train(overshooting(toy), tmp_path / "run", stop)
    assert resume(tmp_path / "run").validation == result.validation
    assert_same_tree(tmp_path / "run", tmp_path / "whole")


def test_the_plan_says_so(toy: Path) -> None:
    spec = overshooting(toy)
    (phase,) = compile_plan(inventory_for(spec), spec).phases
    assert length_text(phase.length) == "4 epochs, the best by topic/loss restored"


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ({"phase": [{"epochs": 1}]}, "FP132"),
        ({"train": {"restore_best": "nothing/loss"}}, "FP133"),
        ({"train": {"restore_best": "topic/recall"}}, "FP133"),
    ],
)
def test_what_it_cannot_mean_is_refused(toy: Path, table: dict[str, Any], code: str) -> None:
    values = overshooting(toy).model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    del values["train"]["epochs"]
    with pytest.raises(DiagnosticError) as caught:
        load_spec(values | table)
    assert [item.code for item in caught.value.diagnostics] == [code]
