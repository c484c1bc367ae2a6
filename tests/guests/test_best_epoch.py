"""The best epoch of a phase comes back in a stock Trainer, by any metric that it reports, and after any resume."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from freezeplan.api import compile_plan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.guests.best_epoch import KEY
from freezeplan.guests.transformers import trainer_guest
from tests.apply.phased import phase, thaws
from tests.guests.trainers import EPOCH, bert_spec, joined, rows, scores, stock_trainer, tiny_classifier

WAITS = {"patience": 1, "max_epochs": 3, "restore_best": True}
ERRORS = {"metric": "eval_error", "mode": "min", **WAITS}
VALUES = (0.2, 0.3, 0.1)
ENDS = 2 * EPOCH


class States(TrainerCallback):
    """Keep copies of the model's tensors and the optimizer's state at the beginning of each step."""

    def __init__(self) -> None:
        self.seen: dict[int, Any] = {}

    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Copy them."""
        states = more["optimizer"].state_dict()["state"]
        self.seen[state.global_step] = deepcopy((dict(more["model"].state_dict()), states))

    on_train_end = on_step_begin


def reported(folder: Path, *, until: Any = ERRORS, resume: int | None = None, **more: Any) -> Any:
    """Train a phase that a metric of the Trainer's ends, and one after it; returns what was seen and the Trainer."""
    first = phase("wait", steps=None, until=until)
    states, left = States(), VALUES[(resume or 0) // EPOCH :]
    reports = scores(*left)
    _, trainer = joined(
        tiny_classifier(),
        folder,
        first,
        phase("top", thaws("@layers[-1:]"), steps=2),
        compute_metrics=lambda found: {"error": reports(found)["accuracy"]},
        eval_dataset=rows(8),
        callbacks=(states,),
        **more,
    )
    trainer.train(resume_from_checkpoint=resume and str(folder / f"checkpoint-{resume}"))
    return states.seen, trainer


def equal(one: Any, other: Any) -> bool:
    """Whether two pairs of tensors by name, and states by place, are the same to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return all(map(equal, one, other))
    return torch.equal(one, other) if torch.is_tensor(one) else one == other


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what a run in one go saw, and the folder of its checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    seen, trainer = reported(folder, save_strategy="steps", save_steps=1)
    assert trainer.state.global_step == ENDS + 2
    return seen, folder


def test_weights_and_state_of_the_best_epoch_come_back(whole: Any) -> None:
    seen, _ = whole
    then, now = seen[EPOCH], seen[ENDS]
    assert equal(now[0], then[0]) and not equal(now[0], seen[ENDS - 1][0])
    assert equal({key: now[1][key] for key in then[1]}, then[1])


@pytest.mark.parametrize("step", [EPOCH - 1, EPOCH, ENDS - 1, ENDS, ENDS + 1])
def test_resumed_at_any_step_around_a_boundary_it_ends_with_the_same_bits(
    step: int, whole: Any, tmp_path: Path
) -> None:
    seen, folder = whole
    again, _ = reported(folder, resume=step)
    assert equal(again[ENDS + 2], seen[ENDS + 2])


def test_a_checkpoint_without_the_best_epoch_is_refused(whole: Any, tmp_path: Path) -> None:
    place = tmp_path / f"checkpoint-{ENDS - 1}"
    copytree(whole[1] / place.name, place)
    state = torch.load(place / "optimizer.pt")
    del state[KEY]
    torch.save(state, place / "optimizer.pt")
    with pytest.raises(DiagnosticError, match="FP445"):
        reported(tmp_path, resume=ENDS - 1)


def test_a_run_without_phases_ends_with_its_best_epoch(tmp_path: Path) -> None:
    spec = bert_spec() | {"phase": [], "train": {"epochs": 3, "restore_best": "topic/accuracy"}}
    model, states = tiny_classifier(), States()
    guest = trainer_guest(model, compile_plan(model, spec))
    more = {"compute_metrics": scores(0.1, 0.9, 0.5), "eval_dataset": rows(8), "callbacks": (states,)}
    stock_trainer(guest, model, tmp_path, **more).train()
    assert equal(states.seen[3 * EPOCH][0], states.seen[2 * EPOCH][0])


def test_stop_when_leaves_the_weights_that_reached_it(tmp_path: Path) -> None:
    train = {"stop_when": {"metric": "topic/accuracy", "at_least": 0.9}}
    errors, reached, states = scores(*VALUES), scores(0.5, 0.95), States()
    _, trainer = joined(
        tiny_classifier(),
        tmp_path,
        phase("wait", steps=None, until=ERRORS),
        tables={"train": train},
        compute_metrics=lambda found: {**reached(found), "error": errors(found)["accuracy"]},
        eval_dataset=rows(8),
        callbacks=(states,),
    )
    trainer.train()
    assert trainer.state.global_step == ENDS
    assert not equal(states.seen[ENDS][0], states.seen[EPOCH][0])
