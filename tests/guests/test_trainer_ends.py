"""Where a Trainer's length and the plan's meet: no written length, and a run that is over when it is resumed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from freezeplan.api import compile_plan
from freezeplan.apply import schedule_factor
from freezeplan.diagnostics import DiagnosticError
from freezeplan.guests.transformers import trainer_guest
from tests.apply.phased import phase, thaws
from tests.guests.trainers import (
    EPOCH,
    UNTIL,
    Endless,
    Watcher,
    bert_spec,
    copies,
    joined,
    rows,
    scores,
    stock_trainer,
    tiny_classifier,
)

ENDS = {
    "at the end of an epoch": (({}, phase("head", steps=EPOCH)), EPOCH),
    "within an epoch": (({}, *(phase("head", steps=2), phase("top", thaws("@layers[-1:]"), steps=2))), 4),
    "by a metric": (({}, phase("wait", steps=None, until=UNTIL)), 3 * EPOCH),
    "by stop_when": (
        (
            {"train": {"stop_when": {"metric": "topic/accuracy", "at_least": 0.5}}},
            *(phase("head", steps=None, epochs=1), phase("top", thaws("@layers[-1:]"), steps=4)),
        ),
        EPOCH,
    ),
}


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
@pytest.mark.parametrize("kind", ENDS)
def test_a_trainer_that_resumes_behind_its_end_changes_nothing(
    kind: str, strategy: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tables, *phases), end = ENDS[kind]
    more = {"eval_dataset": rows(8), "save_strategy": strategy, "save_steps": 2, "tables": tables}
    ended = tiny_classifier()
    joined(ended, tmp_path, *phases, compute_metrics=scores(0.5, 0.5, 0.5, 0.5), **more)[1].train()
    saved = {item.name: item.stat().st_mtime_ns for item in tmp_path.glob("checkpoint-*")}
    model = tiny_classifier()
    _, trainer = joined(model, tmp_path, *phases, compute_metrics=scores(0.5), **more)
    with caplog.at_level(logging.WARNING, "freezeplan"):
        done = trainer.train(resume_from_checkpoint=True)
    assert f"the plan is over after {end} steps: nothing is trained" in caplog.messages
    assert (done.global_step, trainer.state.global_step) == (end, end)
    assert {n for n, value in copies(model).items() if not torch.equal(value, copies(ended)[n])} == set()
    assert saved == {item.name: item.stat().st_mtime_ns for item in tmp_path.glob("checkpoint-*")}
    now, then = ([item.requires_grad for item in given.parameters()] for given in (model, ended))
    assert now == then
    modes, before = ([item.training for item in given.train().modules()] for given in (model, ended))
    assert modes == before


@pytest.mark.parametrize("lasting", [{"num_train_epochs": 2}, {"num_train_epochs": 1.5}, {"max_steps": 7}])
def test_a_run_without_a_written_length_is_as_long_as_the_trainer(
    lasting: dict[str, Any], tmp_path: Path
) -> None:
    model, watcher = tiny_classifier(), Watcher()
    spec = bert_spec() | {"phase": []}
    guest = trainer_guest(model, compile_plan(model, spec))
    trainer = stock_trainer(guest, model, tmp_path, callbacks=(watcher,), **{"max_steps": -1} | lasting)
    trainer.train()
    steps = lasting.get("max_steps") or int(lasting["num_train_epochs"] * EPOCH)
    factor = schedule_factor(guest.callback.plan.phases[0].schedule, steps)
    assert [max(rates) for rates in watcher.rates] == [0.01 * factor(step) for step in range(steps)]
    assert guest.max_steps(EPOCH) == 3 * EPOCH
    written = compile_plan(model, spec | {"train": {"epochs": 3}})
    assert written == guest.callback.plan
    with pytest.raises(DiagnosticError, match="FP441"):
        stock_trainer(trainer_guest(model, written), model, tmp_path, **{"max_steps": -1} | lasting).train()


def test_nor_need_its_data_have_a_length(tmp_path: Path) -> None:
    model = tiny_classifier()
    guest = trainer_guest(model, compile_plan(model, bert_spec() | {"phase": []}))
    trainer = stock_trainer(guest, model, tmp_path, max_steps=5, train_dataset=Endless())
    trainer.train()
    assert trainer.state.global_step == 5
