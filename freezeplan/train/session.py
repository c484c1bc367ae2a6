"""The course of one run: its phases, or its evaluation, then the test and the end, whatever that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from freezeplan.apply.ending import Scores
from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.document import plan_hash
from freezeplan.render.notebook import plan_text
from freezeplan.render.summary import model_line
from freezeplan.runs.checkpoints.store import Checkpoint
from freezeplan.runs.events import (
    Evaluated,
    EvidenceReady,
    Finished,
    Observer,
    Predicted,
    Resumed,
    RunStarted,
    ignore_events,
    in_turn,
)
from freezeplan.runs.interrupts import interrupt_after
from freezeplan.runs.run_files import PREDICTIONS
from freezeplan.runs.run_folder import RunFolder
from freezeplan.train.failures import explained
from freezeplan.train.phases import has_phases, put_in_place, run_phases
from freezeplan.train.running import Running
from freezeplan.train.setup import Setup
from freezeplan.train.tracking import Trackers


@dataclass
class Session:
    """Run a prepared training, and remember how far it got; ``test`` holds the scores on test data.

    ``finished`` tells that the folder says so: a stop comes too late.
    """

    setup: Setup
    folder: RunFolder
    observer: Observer
    test: Scores = field(default_factory=dict)
    finished: bool = False

    def __post_init__(self) -> None:
        if not self.setup.ranks.first:
            self.folder.writes, self.observer = False, ignore_events
        names = self.setup.ranks.first and self.setup.spec.train.report_to
        self.trackers = Trackers(self.setup.spec, self.folder.path) if names else None
        if self.trackers is not None:
            self.observer = in_turn(self.observer, self.trackers)
        self.running = Running(self.setup, self.folder, self.observer)

    def run(self, checkpoint: Checkpoint | None = None, skipped: Mapping[str, str] | None = None) -> None:
        """Train all phases, or evaluate when the plan trains nothing, then test and finish.

        With a checkpoint, go on from it; ``skipped`` says what is wrong with newer ones.
        """
        self.observer(self._started())
        with self._failures(), self._tracked():
            self.running.check_ranks(checkpoint=checkpoint.name if checkpoint else "")
            if checkpoint is not None:
                self._remove_leftovers()
                self._restore(checkpoint, skipped or {})
            self._start_trackers(resumed=checkpoint is not None)
            if self.setup.evaluation_only:
                self._evaluate_only()
            else:
                run_phases(self.running)
            self._finish()

    def mark(self, status: str) -> None:
        """Write into the folder how the run stands, if an epoch is there."""
        self.running.mark(status)

    def _started(self) -> RunStarted:
        setup = self.setup
        return RunStarted(
            rows={
                task.name: {
                    **({} if task.streamed is None else {"streamed train": len(task.streamed)}),
                    **{name: len(split) for name, split in task.splits.items()},
                    **{f"unlabelled {name}": len(split) for name, split in task.unlabelled.items()},
                }
                for task in setup.tasks
            },
            groups=tuple(group.name for group in setup.plan.groups),
            epochs=setup.epochs,
            steps=setup.steps,
            device=str(setup.device),
            max_length=setup.encoder.max_length,
            evaluation_only=setup.evaluation_only,
            only_evaluated=setup.only_evaluated,
            precision=setup.spec.train.precision,
            frozen_dtype=setup.plan.frozen_dtype if setup.plan.at_rest else None,
            recomputes=setup.spec.train.gradient_checkpointing,
        )

    def _remove_leftovers(self) -> None:
        if self.setup.ranks.first:
            self.running.store.remove_leftovers()

    def _restore(self, checkpoint: Checkpoint, skipped: Mapping[str, str]) -> None:
        self.setup.streams.seek(checkpoint.state["position"].get("streams", {}))
        self.running.restore(checkpoint)
        position = self.running.position
        phase = self.setup.phases[position.phase].phase.name if has_phases(self.setup) else ""
        self.observer(Resumed(checkpoint.name, phase, position.epoch, position.step, skipped))

    def _evaluate_only(self) -> None:
        running = self.running
        running.ledger.begin_phase(0)
        scores = running.validation = running.evaluate("validation")
        if scores:
            running.log.add_scores("validation", 0, scores, self.setup.score_of(scores))
            self.observer(Evaluated("validation", scores, self.setup.score_of(scores)))
        put_in_place(running)

    def _finish(self) -> None:
        running = self.running
        epoch, evidence = running.position.epoch, running.evidence
        self.test = running.evaluate("test")
        if self.test:
            score = self.setup.score_of(self.test)
            running.log.add_scores("test", epoch, self.test, score)
            self.observer(Evaluated("test", self.test, score))
        self._predict()
        running.files.test = self.test
        running.files.in_full = {
            split: running.in_full(split) for split in ("validation", "test") if self.setup.data[split]
        }
        running.execution.close()
        with interrupt_after():
            self.mark("finished")
            self.finished = True
        self.observer(EvidenceReady(evidence.statement, evidence.holds))
        self.observer(Finished(self.folder.path, self.test or running.validation))

    def _predict(self) -> None:
        """Predict the test rows without labels, if there are any."""
        unlabelled = self.setup.unlabelled
        if unlabelled:
            self.running.publish_answers()
            rows = {task: len(split) for task, split in unlabelled.items()}
            self.observer(Predicted(rows, self.folder.path / PREDICTIONS))

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        """Close the trackers and the files of streamed rows, however the run ends."""
        try:
            yield
        finally:
            self.setup.streams.close()
            if self.trackers is not None:
                self.trackers.finish()

    def _start_trackers(self, *, resumed: bool) -> None:
        if self.trackers is None:
            return
        setup, train = self.setup, self.setup.spec.train
        facts = {
            "model": model_line(setup.plan),
            "plan": plan_hash(setup.plan)[:12],
            "batch_size": train.batch_size,
            "accumulation": train.accumulation,
            "precision": train.precision,
            "seed": train.seed,
            **{
                f"optimizer.{item.label or 'main'}": f"{item.name}, lr {item.lr:g}"
                for item in setup.plan.working
            },
        }
        self.trackers.start(facts, plan_text(setup.plan), self.running.position.step if resumed else None)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Note in the folder that the run failed; give what others are to blame for a diagnostic."""
        try:
            with self.setup.spec.locations.attached(), explained():
                yield
        except DiagnosticError:
            self._mark_failed()
            raise

    def _mark_failed(self) -> None:
        # A full disk is one of the failures: what it said first is what the user must see.
        with suppress(DiagnosticError):
            self.mark("failed")
