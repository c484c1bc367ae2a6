"""Three hosts of a plan that take the same small runs: our own trainer, that of transformers, and that of Lightning."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from transformers import TrainerCallback

from freezeplan.plan.records import Plan
from freezeplan.runs.events import PhaseDone, RunStarted, StepDone
from freezeplan.train.resume import resume as resume_run
from freezeplan.train.run import train
from freezeplan.train.running import Running
from tests.apply.phased import phase, thaws
from tests.guests import trainers
from tests.train.phased import ALL, POOLER, TOP, phased_spec
from tests.train.tiny import save_tiny_bert, write_toy_data

Tensors = dict[str, torch.Tensor]
EPOCH = 6
"""Optimizer steps in an epoch of each host's data."""
LAST = 2
"""Steps of the phase behind one that a metric ends."""


@dataclass(frozen=True)
class Asked:
    """Say what to run: where, the ``until`` of the first phase (None: phases of fixed lengths), and how.

    ``values`` are what the deciding metric is in each evaluation, ``resume`` the step to go on from.
    """

    folder: Path
    until: Mapping[str, Any] | None = None
    values: tuple[float, ...] = ()
    accumulation: int = 1
    resume: int = 0


@dataclass
class Course:
    """Keep what a run did: tensors and rates before the step that follows so many others; the last are its end."""

    plan: Plan | None = None
    seen: dict[int, Tensors] = field(default_factory=dict)
    rates: dict[int, dict[str, float]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """How many steps the run took."""
        return max(self.seen)

    @property
    def end(self) -> Tensors:
        """The tensors that it ended with."""
        return self.seen[self.steps]

    def moved(self, first: int, last: int) -> set[str]:
        """Name the plan's tensors that differ between two moments."""
        assert self.plan is not None
        names = [param.name for param in self.plan.params]
        return {name for name in names if not torch.equal(self.seen[first][name], self.seen[last][name])}


@dataclass(frozen=True)
class Host:
    """Name a host, the package that must be there, and how it runs what is asked; ``lengths`` are of its phases."""

    name: str
    package: str
    run: Callable[[Asked], Course]
    lengths: tuple[int, ...]
    metric: Mapping[str, str]

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        return find_spec(self.package) is not None


def copied(model: torch.nn.Module) -> Tensors:
    """Return copies of a model's tensors by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


class Watch(TrainerCallback):
    """Note what a Trainer's model holds before each step and at the end."""

    def __init__(self, course: Course) -> None:
        self.course = course

    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Copy the tensors."""
        self.course.seen[state.global_step] = copied(more["model"])

    on_train_end = on_step_begin

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Copy the rates."""
        groups = more["optimizer"].param_groups
        self.course.rates[state.global_step] = {group["name"]: group["lr"] for group in groups}


def in_trainer(asked: Asked) -> Course:
    """Run in transformers' Trainer, a checkpoint after each step."""
    course, left = Course(), list(asked.values[asked.resume // EPOCH :])
    phases = trainers.GRADUAL
    if asked.until is not None:
        first = phase("wait", steps=None, until=dict(asked.until))
        phases = (first, phase("top", thaws("@layers[-1:]"), steps=LAST))
    guest, trainer = trainers.joined(
        trainers.tiny_classifier(),
        asked.folder,
        *phases,
        compute_metrics=lambda _: {"accuracy": left.pop(0)},
        eval_dataset=trainers.rows(8),
        callbacks=(Watch(course),),
        save_strategy="steps",
        save_steps=1,
        gradient_accumulation_steps=asked.accumulation,
        per_device_train_batch_size=trainers.BATCH // asked.accumulation,
    )
    course.plan = guest.callback.plan
    trainer.train(resume_from_checkpoint=_at(asked, "checkpoint-{}"))
    # Behind the end a Trainer takes a step that changes nothing, which the guest then counts out.
    course.seen = {step: seen for step, seen in course.seen.items() if step < trainer.state.global_step}
    course.seen[trainer.state.global_step] = copied(trainer.model)
    return course


def in_lightning(asked: Asked) -> Course:
    """Run in Lightning's Trainer, a checkpoint after each step, over a loader that knows where it stands."""
    from tests.guests import lightning_modules as pl

    phases = pl.GRADUAL
    if asked.until is not None:
        first = phase("wait", steps=None) | {"until": dict(asked.until)}
        phases = (first, phase("all", thaws("body.**"), steps=LAST))
    # A checkpoint after an epoch's last batch is older than its validation.
    values = asked.values[max(0, asked.resume - 1) // EPOCH :]
    module, trainer, plan = pl.joined(
        asked.folder,
        *phases,
        scores=values,
        accumulate_grad_batches=asked.accumulation,
        enable_checkpointing=True,
        callbacks=[pl.each_step(asked.folder)],
    )
    loader = pl.ResumableLoader(pl.loader(batch=pl.BATCH // asked.accumulation))
    course = Course(plan)
    trainer.fit(module, loader, pl.loader(8), ckpt_path=_at(asked, "step={}.ckpt"))
    course.seen = {asked.resume + place: tensors for place, tensors in enumerate(module.seen)}
    course.rates = {asked.resume + place: rates for place, rates in enumerate(module.rates)}
    course.seen[trainer.global_step] = module.copies()
    return course


def _at(asked: Asked, name: str) -> str | None:
    return str(asked.folder / name.format(asked.resume)) if asked.resume else None


OURS = (
    {"name": "heads", "epochs": 1},
    {"name": "top", "steps": 4, "rule": [TOP]},
    {"name": "all", "steps": 5, "rule": [ALL, POOLER]},
    {"name": "heads again", "epochs": 1, "rule": [{"match": "backbone", "state": "frozen"}]},
)


def in_our_trainer(asked: Asked) -> Course:
    """Run in `freezeplan train`; to resume, stop the run there and go on."""
    phases = [dict(item) for item in OURS]
    if asked.until is not None:
        phases = [{"name": "wait", "until": dict(asked.until)}, {"name": "top", "steps": LAST, "rule": [TOP]}]
    size = 32 // asked.accumulation
    settings = {"batch_size": size, "accumulation": asked.accumulation, "checkpoint_steps": 1}
    spec, course = phased_spec(_toy(asked.folder), phases, train=settings), Course()
    out, session = asked.folder / f"run-{asked.resume}-{asked.accumulation}", []

    def observe(event: object) -> None:
        if isinstance(event, RunStarted):
            course.seen.setdefault(0, copied(session[-1].running.setup.model))
        if isinstance(event, StepDone):
            course.rates[event.step - 1] = dict(event.rates)
        if isinstance(event, (StepDone, PhaseDone)):
            course.seen[session[-1].running.position.step] = copied(session[-1].running.setup.model)
        if asked.resume and isinstance(event, StepDone) and event.step == asked.resume and len(session) == 1:
            raise KeyboardInterrupt

    with patch.object(Running, "evaluate", _scripted(asked.values, Running.evaluate)):
        done = train(spec, out, observe, opened=session.append)
        if asked.resume:
            done = resume_run(out, observe, opened=session.append)
    course.plan = done.plan
    return course


def _toy(folder: Path) -> Path:
    if not (folder / "bert").exists():
        save_tiny_bert(folder / "bert")
        write_toy_data(folder)
    return folder


def _scripted(values: tuple[float, ...], evaluate: Any) -> Any:
    """Return an evaluation in which the deciding metric has these values, one per epoch of the first phase."""

    def evaluated(run: Running, split: str, tasks: Any = None) -> Any:
        scores = evaluate(run, split, tasks)
        if values and split == "validation" and "topic" in scores:
            done = len(run.position.measured(0))
            scores["topic"]["accuracy"] = values[min(done, len(values) - 1)]
        return scores

    return evaluated


HOSTS = (
    Host(
        "freezeplan train", "freezeplan", in_our_trainer, (EPOCH, 4, 5, EPOCH), {"metric": "topic/accuracy"}
    ),
    Host(
        "transformers' Trainer",
        "transformers",
        in_trainer,
        (EPOCH, 4, 5, EPOCH),
        {"metric": "eval_accuracy", "mode": "max"},
    ),
    Host(
        "Lightning's Trainer",
        "lightning",
        in_lightning,
        (EPOCH, 4, 5, EPOCH),
        {"metric": "val_accuracy", "mode": "max"},
    ),
)
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
