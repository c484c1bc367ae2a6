"""A Trainer whose loss is a module with weights of its own, as `SoftmaxLoss` of sentence-transformers is."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertModel, Trainer, TrainerCallback

from freezeplan.api import compile_plan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.guests.beside import KEY
from freezeplan.guests.transformers import TrainerGuest, trainer_guest
from tests.apply.phased import freezes, phase, thaws
from tests.guests.trainers import EPOCH, Watcher, copies, rows, settings, tiny_classifier

OWN = {"classifier.weight", "classifier.bias"}
PHASES = (
    phase("head", steps=EPOCH),
    phase("top", thaws("model.encoder.layer.1", lr_mult=0.5), steps=4),
    phase("body", freezes("classifier"), steps=2),
    phase("all", thaws("**", lr_mult=0.25), steps=EPOCH),
)


class ClassifierLoss(torch.nn.Module):
    """Classify what a model makes of a text; keep count of the rows."""

    def __init__(self, model: BertModel) -> None:
        super().__init__()
        self.model = model
        self.drop = torch.nn.Dropout(0.1)
        self.classifier = torch.nn.Linear(16, 2)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the cross entropy, and count."""
        labels = inputs["labels"]
        if self.training:
            self.seen += len(labels)
        known = self.model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        logits = self.classifier(self.drop(known.pooler_output))
        return torch.nn.functional.cross_entropy(logits, labels)


class LossTrainer(Trainer):
    """Compute the loss by a module beside the model."""

    loss: torch.nn.Module

    def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> torch.Tensor:
        """Return what the module says."""
        return self.loss(inputs)


def tiny_loss() -> ClassifierLoss:
    """Return a loss around a tiny encoder."""
    model = tiny_classifier().bert
    torch.manual_seed(2)
    return ClassifierLoss(model)


def spec(*phases: dict[str, Any]) -> dict[str, Any]:
    """Return a spec for the loss: its classifier trains, and then more."""
    rules = [freezes("**") | {"name": "rest"}, thaws("classifier", name="head")]
    return {"optimizer": {"lr": 0.01}, "rule": rules, "phase": list(phases or PHASES)}


def of(guest: TrainerGuest, loss: ClassifierLoss, folder: Path, *callbacks: Any, **more: Any) -> Trainer:
    """Return a Trainer over the model inside a loss, with a guest."""
    given = settings(folder, guest.max_steps(EPOCH), remove_unused_columns=False, **more)
    trainer = LossTrainer(
        loss.model,
        given,
        train_dataset=rows(),
        optimizers=guest.optimizers,
        callbacks=[*callbacks, guest.callback],
    )
    trainer.loss = loss
    return trainer


def joined(folder: Path, *callbacks: Any, **more: Any) -> tuple[ClassifierLoss, TrainerGuest, Trainer]:
    """Return a loss, the guest that was built for it, and the Trainer that both are in."""
    loss = tiny_loss()
    guest = trainer_guest(loss, compile_plan(loss, spec()))
    return loss, guest, of(guest, loss, folder, *callbacks, **more)


class WatchedLoss(Watcher):
    """Watch a loss instead of the Trainer's model, and count the gradients at each beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.loss: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        """Copy the tensors of the loss."""
        super().on_step_begin(args, state, control, model=self.loss)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Note the modes of the loss."""
        super().on_pre_optimizer_step(args, state, control, **more | {"model": self.loss})


def test_in_each_phase_exactly_what_it_trains_moves(tmp_path: Path) -> None:
    watcher = WatchedLoss()
    loss, guest, trainer = joined(tmp_path, watcher)
    watcher.loss = loss
    trainer.train()
    begin = 0
    for index, item in enumerate(guest.callback.plan.phases):
        end = begin + item.length.count
        trained = set(guest.callback.plan.names(index, trainable=True))
        assert watcher.moved(loss, begin, end) == trained | {"seen"}
        assert watcher.modes[begin] == set(item.eval_modules)
        begin = end
    assert not any(name in watcher.moved(loss, EPOCH + 4, EPOCH + 6) for name in OWN)


def test_the_loss_loses_its_gradients_after_each_step(tmp_path: Path) -> None:
    """The Trainer clears those of its own model alone: the loss's would add up."""

    class Gradients(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if loss.classifier.bias.requires_grad:
                held.append(loss.classifier.bias.grad.clone())

    held: list[torch.Tensor] = []
    given: list[torch.Tensor] = []
    loss, _, trainer = joined(tmp_path, Gradients())
    loss.classifier.bias.register_hook(lambda gradient: given.append(gradient.clone()))
    trainer.train()
    assert len(held) == 2 * EPOCH + 4
    assert all(map(torch.equal, held, given))


def test_an_evaluation_does_not_leave_the_loss_in_eval_mode(tmp_path: Path) -> None:
    class Evaluates(WatchedLoss):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.loss.eval()

    watcher = Evaluates()
    watcher.loss, guest, trainer = joined(tmp_path, watcher)
    trainer.train()
    phases = guest.callback.plan.phases
    expected = [set(item.eval_modules) for item in phases for _ in range(item.length.count)]
    assert watcher.modes == expected


@pytest.mark.parametrize("stop", [3, EPOCH, EPOCH + 5, EPOCH + 8])
def test_a_resumed_trainer_ends_as_one_that_was_never_stopped(stop: int, tmp_path: Path) -> None:
    whole, _, trainer = joined(tmp_path, save_strategy="steps", save_steps=stop)
    trainer.train()
    resumed, _, again = joined(tmp_path)
    again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{stop}"))
    expected = copies(whole)
    assert {n for n, value in copies(resumed).items() if not torch.equal(value, expected[n])} == set()
    saved = torch.load(tmp_path / f"checkpoint-{stop}" / "optimizer.pt", weights_only=True)
    assert set(saved[KEY]) == OWN | {"seen"}


def test_a_checkpoint_without_the_weights_of_the_loss_is_refused(tmp_path: Path) -> None:
    _, _, trainer = joined(tmp_path, save_strategy="steps", save_steps=3)
    trainer.train()
    file = tmp_path / "checkpoint-3" / "optimizer.pt"
    saved = torch.load(file, weights_only=True)
    del saved[KEY]["classifier.weight"]
    torch.save(saved, file)
    with pytest.raises(DiagnosticError) as caught:
        joined(tmp_path)[2].train(resume_from_checkpoint=str(file.parent))
    (found,) = caught.value.diagnostics
    assert found.code == "FP445"
    assert "`classifier.weight`" in found.message


def refusal(trainer: Trainer) -> str:
    """Return what a Trainer is refused for, which has moved nothing then."""
    loss: Any = trainer.loss
    before = copies(loss)
    with pytest.raises(DiagnosticError) as caught:
        trainer.train()
    (found,) = caught.value.diagnostics
    names = {name for name, value in copies(loss).items() if not torch.equal(value, before[name])}
    assert names <= {"seen"}
    return " ".join((found.code, found.message, *found.notes, found.help or ""))


def for_the_model_alone(folder: Path) -> tuple[ClassifierLoss, Trainer]:
    """Return a Trainer whose guest knows nothing of the loss."""
    loss = tiny_loss()
    rules = [freezes("**"), thaws("encoder.layer.1")]
    plan = compile_plan(loss.model, {"rule": rules, "phase": [phase("top", steps=4)]})
    return loss, of(trainer_guest(loss.model, plan), loss, folder)


def test_a_loss_whose_weights_are_in_no_group_is_refused(tmp_path: Path) -> None:
    said = refusal(for_the_model_alone(tmp_path)[1])
    assert said.startswith("FP448 the loss is computed with 2 trainable tensors")
    assert "`ClassifierLoss`: `classifier.weight`" in said
    assert "trainer_guest(loss, plan)" in said


def test_so_is_a_parameter_that_stands_alone(tmp_path: Path) -> None:
    loss, trainer = for_the_model_alone(tmp_path)
    loss.classifier.requires_grad_(False)
    loss.__dict__["scale"] = torch.nn.Parameter(torch.ones(3))
    plain = loss.forward
    loss.__dict__["forward"] = lambda inputs: plain(inputs) * loss.scale.sum()
    assert "a parameter of shape (3,) in no module" in refusal(trainer)


def test_weights_that_are_frozen_or_have_an_optimizer_of_their_own_are_not(tmp_path: Path) -> None:
    loss, trainer = for_the_model_alone(tmp_path)
    loss.classifier.requires_grad_(False)
    trainer.train()
    loss, trainer = for_the_model_alone(tmp_path)
    own = torch.optim.SGD(loss.classifier.parameters(), lr=0.1)
    trainer.train()
    assert own.param_groups
    left_over = tiny_loss()
    left_over.classifier.weight.grad = torch.ones_like(left_over.classifier.weight)
    joined(tmp_path)[2].train()


def test_a_guest_for_another_model_is_refused(tmp_path: Path) -> None:
    """A copy has the same names: its tensors are others."""
    loss, other = tiny_loss(), tiny_loss()
    trainer = of(trainer_guest(other, compile_plan(other, spec())), loss, tmp_path)
    said = refusal(trainer)
    assert said.startswith("FP448 the Trainer's model has")
    assert "`encoder.layer.0.attention.self.query.weight`" in said
    gc.collect()


def test_two_optimizers_save_what_stands_beside_the_model_too(tmp_path: Path) -> None:
    loss = tiny_loss()
    muon = {"name": "muon", "match": "@layers", "except": ["@bias", "@norm"], "lr": 0.02}
    tables = spec() | {"optimizer": {"lr": 0.01, "muon": muon}}
    guest = trainer_guest(loss, compile_plan(loss, tables))
    of(guest, loss, tmp_path, save_strategy="steps", save_steps=EPOCH + 2).train()
    saved = torch.load(tmp_path / f"checkpoint-{EPOCH + 2}" / "optimizer.pt", weights_only=True)
    assert set(saved[KEY]) == OWN | {"seen"}
