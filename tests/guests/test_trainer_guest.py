"""A plan as a guest in a stock Trainer: the same phases, at the same steps, at the same rates, or a plain refusal."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer
from transformers.integrations import TensorBoardCallback

from freezeplan.apply import phase_rates, schedule_factor, stretch_steps
from freezeplan.apply.logged_names import logged_names
from freezeplan.diagnostics import DiagnosticError, entries
from freezeplan.guests.transformers import trainer_guest
from freezeplan.plan.document import plan_hash
from tests.apply.phased import freezes, phase, thaws
from tests.guests.trainers import (
    EPOCH,
    UNTIL,
    Endless,
    Watcher,
    bert_plan,
    copies,
    joined,
    rows,
    scores,
    settings,
    stock_trainer,
    tiny_classifier,
)

BOUNDARIES = [0, EPOCH, EPOCH + 4, EPOCH + 9, 2 * EPOCH + 9]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_in_each_phase_exactly_what_it_trains_moves(accumulation: int, tmp_path: Path) -> None:
    model, watcher = tiny_classifier(), Watcher()
    guest = trainer_guest(model, bert_plan(model))
    trainer = stock_trainer(
        guest,
        model,
        tmp_path,
        callbacks=(watcher,),
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=4 // accumulation,
    )
    trainer.train()
    plan = guest.callback.plan
    assert trainer.state.global_step == BOUNDARIES[-1]
    for index, (begin, end) in enumerate(zip(BOUNDARIES, BOUNDARIES[1:], strict=False)):
        assert watcher.moved(model, begin, end) == set(plan.names(index, trainable=True))
        assert watcher.modes[begin] == set(plan.phases[index].eval_modules)


def test_the_trainers_own_train_calls_do_not_undo_eval_mode(tmp_path: Path) -> None:
    model, watcher = tiny_classifier(), Watcher()
    joined(model, tmp_path, callbacks=(watcher,))[1].train()
    assert all("bert.embeddings.dropout" in modes for modes in watcher.modes[:EPOCH])
    naive, seen = tiny_classifier(), Watcher()
    naive.bert.requires_grad_(False)
    naive.bert.eval()
    Trainer(naive, settings(tmp_path, 1), train_dataset=rows(), callbacks=[seen]).train()
    assert seen.modes == [set()]


def test_each_phase_is_entered_once_before_its_first_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, trainer = joined(tiny_classifier(), tmp_path)
    with caplog.at_level(logging.INFO, "freezeplan"):
        trainer.train()
    names = ("head", "top", "all", "head again")
    assert [record.getMessage() for record in caplog.records if "step" in record.getMessage()] == [
        f"step {begin + 1}: phase `{name}`" for begin, name in zip(BOUNDARIES, names, strict=False)
    ]


def test_every_step_has_the_plans_rates_times_one_factor(tmp_path: Path) -> None:
    model, watcher = tiny_classifier(), Watcher()
    guest, trainer = joined(model, tmp_path, callbacks=(watcher,))
    trainer.train()
    plan, lengths = guest.callback.plan, [EPOCH, 4, 5, EPOCH]
    for index, (begin, end) in enumerate(zip(BOUNDARIES, BOUNDARIES[1:], strict=False)):
        before, whole = stretch_steps(plan, lengths, index)
        factor = schedule_factor(plan.phases[index].schedule, whole)
        for step in range(begin, end):
            expected = phase_rates(plan, index, factor(before + step - begin))
            assert watcher.rates[step] == list(expected.values())


def test_every_groups_rate_is_logged_as_the_step_had_it(tmp_path: Path) -> None:
    model, watcher = tiny_classifier(), Watcher()
    guest, trainer = joined(model, tmp_path, callbacks=(watcher,))
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    names = [
        f"lr/{name}" for name in logged_names(group.name for group in guest.callback.plan.groups).values()
    ]
    assert "lr/head.no_decay" in names
    assert [[entry[name] for name in names] for entry in logged] == watcher.rates


class Reporter(TensorBoardCallback):
    """A reporter that keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[set[str]] = []

    def on_train_begin(self, *given: Any, **more: Any) -> None:
        """Open nothing."""

    on_train_end = on_train_begin

    def on_log(self, *given: Any, logs: Any = None, **more: Any) -> None:
        """Keep the names."""
        self.shown.append(set(logs))


def test_reporters_are_shown_the_rates(tmp_path: Path) -> None:
    guest, trainer = joined(tiny_classifier(), tmp_path, phase("head", steps=1), callbacks=(Reporter(),))
    guest.before_reporters(trainer)
    trainer.train()
    (reporter,) = (item for item in trainer.callback_handler.callbacks if isinstance(item, Reporter))
    assert {"lr/head", "lr/head.no_decay", "loss"} <= reporter.shown[0]


def test_a_thaw_in_a_trainer_of_its_own_moves_nothing(tmp_path: Path) -> None:
    """Row 4: the Trainer's own optimizer holds what was trainable when it was made."""
    model = tiny_classifier()
    model.bert.requires_grad_(False)
    trainer = Trainer(model, settings(tmp_path, 2), train_dataset=rows())
    trainer.create_optimizer()
    model.bert.requires_grad_(True)
    before = copies(model)
    trainer.train()
    moved = {name for name, value in copies(model).items() if not torch.equal(value, before[name])}
    assert moved == {"classifier.weight", "classifier.bias"}


def waiting(**until: Any) -> tuple[dict[str, Any], ...]:
    """Return phases of which the first waits for a metric."""
    return (
        phase("wait", steps=None, until=UNTIL | until),
        phase("top", thaws("@layers[-1:]"), steps=4),
    )


ENDINGS = {
    "patience": ((0.5, 0.5, 0.5), {}, 3 * EPOCH),
    "improving to the end": ((0.1, 0.2, 0.3, 0.4), {}, 4 * EPOCH),
    "a target": ((0.5, 0.9), {"target": 0.8}, 2 * EPOCH),
}


@pytest.mark.parametrize("own", ["no", "epoch", "steps"])
@pytest.mark.parametrize("kind", ENDINGS)
def test_a_metric_ends_a_phase(kind: str, own: str, tmp_path: Path) -> None:
    values, until, end = ENDINGS[kind]
    model, watcher = tiny_classifier(), Watcher()
    more = {"eval_strategy": own} | ({"eval_steps": EPOCH} if own == "steps" else {})
    _, trainer = joined(
        model,
        tmp_path,
        *waiting(**until),
        callbacks=(watcher,),
        eval_dataset=rows(8),
        compute_metrics=scores(*values, 0.0, 0.0),
        **more,
    )
    trainer.train()
    assert any("layer.1" in name for name in watcher.moved(model, end, end + 4))
    assert not any("layer.1" in name for name in watcher.moved(model, 0, end))
    # Of a run that took all its steps, the Trainer itself is the end; of a shorter one, its max_steps.
    assert trainer.state.max_steps == 4 * EPOCH + 4


def test_the_trainer_stops_where_the_plan_ends(tmp_path: Path) -> None:
    last = phase("wait", steps=None, until=UNTIL)
    model = tiny_classifier()
    _, trainer = joined(
        model,
        tmp_path,
        last,
        eval_dataset=rows(8),
        compute_metrics=scores(0.5, 0.5, 0.5),
        save_strategy="steps",
    )
    trainer.train()
    assert (trainer.state.global_step, trainer.state.max_steps) == (3 * EPOCH, 4 * EPOCH)
    assert (tmp_path / f"checkpoint-{3 * EPOCH}").is_dir()


def test_training_again_begins_at_the_first_phase(tmp_path: Path) -> None:
    last, values = phase("wait", steps=None, until=UNTIL), (0.5, 0.5, 0.5, 0.1, 0.2, 0.3, 0.4)
    _, trainer = joined(
        tiny_classifier(), tmp_path, last, eval_dataset=rows(8), compute_metrics=scores(*values)
    )
    taken = []
    for _ in range(2):
        trainer.train()
        taken.append(trainer.state.global_step)
    assert taken == [3 * EPOCH, 4 * EPOCH]


@pytest.mark.parametrize("metric", ["topic/accuracy", "score"])
def test_stop_when_ends_the_run(tmp_path: Path, metric: str) -> None:
    model = tiny_classifier()
    score = {"topic/accuracy": 3.0, "topic/loss": -1e-9}
    stop = {"train": {"score": score, "stop_when": {"metric": metric, "at_least": 0.69}}}
    phases = (phase("head", steps=None, epochs=2), phase("top", thaws("@layers[-1:]"), steps=4))
    _, trainer = joined(
        model, tmp_path, *phases, tables=stop, eval_dataset=rows(8), compute_metrics=scores(0.5, 0.7)
    )
    trainer.train()
    assert trainer.state.global_step == 2 * EPOCH


def test_a_metric_of_one_of_several_tasks(tmp_path: Path) -> None:
    model = tiny_classifier()
    _, trainer = joined(
        model,
        tmp_path,
        phase("wait", steps=None, until=UNTIL | {"metric": "topic/loss"}),
        eval_dataset={"other": rows(4), "topic": rows(8)},
    )
    trainer.train()
    measured = [entry["eval_topic_loss"] for entry in trainer.state.log_history if "eval_topic_loss" in entry]
    assert 3 <= len(measured) <= 4
    assert len(measured) * EPOCH == trainer.state.global_step


def test_a_phase_that_trains_nothing_takes_no_step_but_gives_up_state(tmp_path: Path) -> None:
    pause = phase("pause", freezes("**"), steps=None, epochs=2)
    phases = (phase("head", steps=3), pause, phase("again", thaws("classifier"), steps=3))
    model = tiny_classifier()
    guest, trainer = joined(model, tmp_path, *phases)
    trainer.train()
    assert trainer.state.global_step == 6
    assert float(guest.optimizer.state[model.classifier.weight]["step"]) == 3.0


@pytest.mark.parametrize("stop", [3, EPOCH, EPOCH + 2, EPOCH + 9])
def test_a_resumed_trainer_ends_as_one_that_was_never_stopped(stop: int, tmp_path: Path) -> None:
    whole = tiny_classifier()
    joined(whole, tmp_path / "whole")[1].train()
    first = tiny_classifier()
    joined(first, tmp_path / "cut", save_strategy="steps", save_steps=stop)[1].train()
    resumed = tiny_classifier()
    _, trainer = joined(resumed, tmp_path / "cut")
    trainer.train(resume_from_checkpoint=str(tmp_path / "cut" / f"checkpoint-{stop}"))
    assert trainer.state.global_step == BOUNDARIES[-1]
    assert {n for n, value in copies(resumed).items() if not torch.equal(value, copies(whole)[n])} == set()


def test_a_trainer_with_two_optimizers_moves_what_the_plan_says_and_resumes_to_the_same_bits(
    tmp_path: Path,
) -> None:
    muon = {"name": "muon", "match": "@layers", "except": ["@bias", "@norm"], "lr": 0.02}
    tables = {"optimizer": {"lr": 0.01, "muon": muon}}
    stop, watcher, whole = EPOCH + 2, Watcher(), tiny_classifier()
    guest, trainer = joined(
        whole, tmp_path, tables=tables, callbacks=(watcher,), save_strategy="steps", save_steps=stop
    )
    trainer.train()
    plan = guest.callback.plan
    assert watcher.moved(whole, EPOCH, EPOCH + 4) == set(plan.names(1, trainable=True))
    resumed = tiny_classifier()
    again = joined(resumed, tmp_path, tables=tables)[1]
    again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{stop}"))
    assert {n for n, value in copies(resumed).items() if not torch.equal(value, copies(whole)[n])} == set()


def test_the_plans_hash_stands_in_the_trainers_state(tmp_path: Path) -> None:
    guest, trainer = joined(tiny_classifier(), tmp_path, save_strategy="steps", save_steps=4)
    trainer.train()
    state = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text("utf-8"))
    assert state["stateful_callbacks"]["freezeplan"] == {"plan": plan_hash(guest.callback.plan)}


def test_arguments_without_effect_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    joined(tiny_classifier(), tmp_path, warmup_steps=3)[1].train()
    said = [record.getMessage() for record in caplog.records if "without effect" in record.getMessage()]
    assert said == ["the plan decides; without effect in TrainingArguments: `learning_rate`, `warmup_steps`"]


def test_a_resumed_trainer_remembers_what_was_measured(tmp_path: Path) -> None:
    model = tiny_classifier()
    more = {"eval_dataset": rows(8), "save_strategy": "steps", "save_steps": EPOCH}
    joined(model, tmp_path, *waiting(), compute_metrics=scores(0.5, 0.5, 0.5), **more)[1].train()
    again, watcher = tiny_classifier(), Watcher()
    _, trainer = joined(
        again, tmp_path, *waiting(), callbacks=(watcher,), compute_metrics=scores(0.4), **more
    )
    trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{2 * EPOCH}"))
    assert not any("layer.1" in name for name in watcher.moved(again, 0, EPOCH))
    assert any("layer.1" in name for name in watcher.moved(again, EPOCH, EPOCH + 4))


def of_another_plan(folder: Path) -> Trainer:
    """Return a Trainer with a checkpoint in its folder that another plan made."""
    model = tiny_classifier()
    joined(model, folder, phase("head", steps=2), save_strategy="steps", save_steps=1)[1].train()
    other = tiny_classifier()
    return joined(other, folder, phase("head", steps=2), phase("all", thaws("**"), steps=2))[1]


def of_a_longer_plan(folder: Path) -> Trainer:
    """Return a Trainer whose plan has the checkpoint's groups and one step more."""
    joined(tiny_classifier(), folder, phase("head", steps=2), save_strategy="steps", save_steps=1)[1].train()
    return joined(tiny_classifier(), folder, phase("head", steps=3))[1]


def two_devices(folder: Path) -> Trainer:
    """Return a Trainer whose settings say that it spreads its batches over two devices."""

    class Two(type(settings(folder, 1))):
        n_gpu = 2

    _, trainer = joined(tiny_classifier(), folder)
    trainer.args.__class__ = Two
    return trainer


def endless(folder: Path) -> Trainer:
    """Return a Trainer over data without a length."""
    return joined(tiny_classifier(), folder, train_dataset=Endless())[1]


def without_metric(folder: Path) -> Trainer:
    """Return a Trainer whose evaluation gives the loss only."""
    return joined(tiny_classifier(), folder, *waiting(), eval_dataset=rows(8))[1]


def without_callback(folder: Path) -> Trainer:
    """Return a Trainer that has the guest's optimizer alone."""
    model = tiny_classifier()
    guest = trainer_guest(model, bert_plan(model))
    return Trainer(model, settings(folder, 21), train_dataset=rows(), optimizers=guest.optimizers)


def without_optimizer(folder: Path) -> Trainer:
    """Return a Trainer that has the guest's callback alone."""
    model = tiny_classifier()
    guest = trainer_guest(model, bert_plan(model))
    return Trainer(model, settings(folder, 21), train_dataset=rows(), callbacks=[guest.callback])


def without_scheduler(folder: Path) -> Trainer:
    """Return a Trainer that makes a scheduler of its own."""
    model = tiny_classifier()
    guest = trainer_guest(model, bert_plan(model))
    more = {"optimizers": (guest.optimizer, None), "callbacks": [guest.callback]}
    return Trainer(model, settings(folder, 21), train_dataset=rows(), **more)


REFUSED = {
    "too short": (lambda folder: joined(tiny_classifier(), folder, max_steps=5)[1], "FP441", "max_steps=21"),
    "too long": (lambda folder: joined(tiny_classifier(), folder, max_steps=22)[1], "FP441", "max_steps=21"),
    "two devices": (two_devices, "FP442", "copies the model at each step"),
    "epochs without end": (endless, "FP443", "have no length"),
    "no metric": (without_metric, "FP444", "`eval_loss`"),
    "another plan's checkpoint": (of_another_plan, "FP445", "other groups"),
    "a longer plan's checkpoint": (of_a_longer_plan, "FP445", "another plan"),
    "no callback": (without_callback, "FP446", "its callback"),
    "no optimizer": (without_optimizer, "FP446", "another optimizer"),
    "no scheduler": (without_scheduler, "FP446", "another scheduler"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_it_cannot_do_is_refused(kind: str, tmp_path: Path) -> None:
    make, code, words = REFUSED[kind]
    with pytest.raises(DiagnosticError) as caught:
        trainer = make(tmp_path)
        trainer.train(resume_from_checkpoint="checkpoint" in kind)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert words in " ".join((found.message, found.help or "", *found.notes))


def test_every_code_of_the_guest_is_shown_here() -> None:
    # FP447 needs PEFT (tests/apply/test_peft_saving.py), FP448 another loss (test_loss_with_weights.py).
    codes = {code for code in entries() if re.fullmatch(r"FP44\d", code)}
    assert codes - {code for _, code, _ in REFUSED.values()} == {"FP440", "FP447", "FP448"}
