"""The course of one run: epochs, evaluation, evidence, and putting each epoch in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import torch

from freezeplan.apply import build_optimizer
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.train.evaluation import evaluate
from freezeplan.train.events import (
    EpochDone,
    Evaluated,
    EvidenceReady,
    Finished,
    Observer,
    RunStarted,
    Scores,
)
from freezeplan.train.evidence import Evidence, compare
from freezeplan.train.fingerprints import Fingerprints, fingerprints
from freezeplan.train.gradients import GradientWatch
from freezeplan.train.loop import Loop
from freezeplan.train.metrics_log import MetricsLog
from freezeplan.train.run_files import RunFiles
from freezeplan.train.run_folder import RunFolder
from freezeplan.train.schedule import build_schedule
from freezeplan.train.setup import Setup


@dataclass
class Session:
    """Run a prepared training, and remember how far it got.

    ``epoch`` counts the epochs that are complete and in the folder; ``validation`` and ``test`` hold the
    scores of its weights, ``evidence`` what their hashes prove.
    """

    setup: Setup
    folder: RunFolder
    observer: Observer
    epoch: int = 0
    validation: Scores = field(default_factory=dict)
    test: Scores = field(default_factory=dict)
    evidence: Evidence | None = None
    log: MetricsLog = field(default_factory=MetricsLog)

    def __post_init__(self) -> None:
        setup = self.setup
        labels = {task.name: task.labels for task in setup.tasks}
        self.files = RunFiles(setup.spec, setup.plan, setup.model, setup.encoder, labels, self.log)
        self.watch = GradientWatch(setup.plan.names(trainable=True))

    def run(self) -> None:
        """Train all epochs, or evaluate when the plan trains nothing, then test and finish."""
        self.observer(self._started())
        before = fingerprints(self.setup.model)
        with self._failures():
            if self.setup.course is None:
                self._evaluate_only(before)
            else:
                self._train(before)
            self._finish()

    def mark(self, status: str) -> None:
        """Write into the folder how the run stands, if an epoch is there."""
        if self.folder.started:
            self.folder.publish(
                lambda place: self.files.write_state(place, status, self.epoch, self.evidence)
            )

    def _started(self) -> RunStarted:
        setup = self.setup
        return RunStarted(
            rows={
                task.name: {n: len(split.labels) for n, split in task.splits.items()} for task in setup.tasks
            },
            groups=tuple(group.name for group in setup.plan.groups),
            epochs=setup.spec.train.epochs if setup.course else 0,
            steps=setup.course.steps if setup.course else 0,
            device=str(setup.accelerator.device),
            max_length=setup.encoder.max_length,
            evaluation_only=setup.course is None,
            only_evaluated=self._only_evaluated(),
        )

    def _only_evaluated(self) -> tuple[str, ...]:
        course = self.setup.course
        return tuple(task.name for task in self.setup.tasks if course and task.name not in course.sizes)

    def _train(self, before: Fingerprints) -> None:
        loop, course = self._loop(), self.setup.course
        for epoch in range(self.setup.spec.train.epochs):
            losses = loop.run_epoch(epoch)
            scores = self._evaluate("validation", epoch + 1)
            step = (epoch + 1) * course.steps_per_epoch
            rates = dict(self.log.records[-1]["rates"])
            self.log.add_epoch(epoch + 1, step, losses, scores, rates)
            self._complete(before, epoch + 1, scores)
            epochs = self.setup.spec.train.epochs
            self.observer(EpochDone(epoch + 1, epochs, step, losses, scores, rates, self.folder.path))

    def _loop(self) -> Loop:
        setup, spec = self.setup, self.setup.spec
        optimizer = build_optimizer(setup.model, setup.plan)
        return Loop(
            model=setup.model,
            optimizer=optimizer,
            schedule=build_schedule(spec.schedule, optimizer, setup.course.steps),
            accelerator=setup.accelerator,
            encoder=setup.encoder,
            data=setup.data["train"],
            weights={task.name: task.weight for task in spec.task},
            course=setup.course,
            clip_norm=spec.train.clip_norm,
            watch=self.watch,
            log=self.log,
            observer=self.observer,
        )

    def _evaluate_only(self, before: Fingerprints) -> None:
        scores = self._evaluate("validation", 0)
        if scores:
            self.log.add_scores("validation", 0, scores)
            self.observer(Evaluated("validation", scores))
        self._complete(before, 0, scores)

    def _evaluate(self, split: str, epoch: int) -> Scores:
        setup = self.setup
        size, device = setup.spec.train.eval_batch_size, setup.accelerator.device
        scores = evaluate(setup.model, setup.encoder, setup.data[split], size, device)
        for task, values in scores.items():
            if not isfinite(values["loss"]):
                message = f"the {split} loss of task `{task}` is {values['loss']} after epoch {epoch}"
                raise DiagnosticError([diagnostic("FP503", message, help="lower the learning rates")])
        return scores

    def _complete(self, before: Fingerprints, epoch: int, scores: Scores) -> None:
        """Compare hashes, put the epoch in place, and only then count it.

        Raises ``DiagnosticError`` (FP510), after saving, when a frozen tensor moved.
        """
        model, plan = self.setup.model, self.setup.plan
        evidence = compare(model, plan, before, fingerprints(model), self.watch, epoch)

        def write(place: Path) -> None:
            if not self.folder.started:
                self.files.write_start(place)
            self.files.write_weights(place)
            self.files.write_state(place, "running" if evidence.holds else "failed", epoch, evidence)

        self.folder.publish(write)
        self.epoch, self.validation, self.evidence = epoch, scores, evidence
        if not evidence.holds:
            self.observer(EvidenceReady(evidence.statement, False))
            raise DiagnosticError(evidence.diagnostics())

    def _finish(self) -> None:
        self.test = self._evaluate("test", self.epoch)
        if self.test:
            self.log.add_scores("test", self.epoch, self.test)
            self.observer(Evaluated("test", self.test))
        self.mark("finished")
        self.observer(EvidenceReady(self.evidence.statement, self.evidence.holds))
        self.observer(Finished(self.folder.path, self.test or self.validation))

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Note in the folder that the run failed; give running out of memory a diagnostic."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            self._mark_failed()
            message = f"the device ran out of memory: {str(error).splitlines()[0]}"
            advice = "lower train.batch_size (train.accumulation keeps the step's size) or train.max_length"
            raise DiagnosticError([diagnostic("FP504", message, help=advice)]) from error
        except DiagnosticError:
            self._mark_failed()
            raise

    def _mark_failed(self) -> None:
        # A full disk is one of the failures: what it said first is what the user must see.
        with suppress(DiagnosticError):
            self.mark("failed")
