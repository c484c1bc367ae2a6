"""A run in progress: model, optimizer, position and evidence, and how they go to disk and come back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from freezeplan.apply import build_optimizer, enter_phase, fused_option
from freezeplan.apply.ending import Scores, best_of, falls_of, reached, reason_to_end
from freezeplan.apply.recomputing import checkpoint_above
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.plan.document import plan_hash, record_hash
from freezeplan.runs.checkpoints.contents import (
    load_tensors,
    random_file,
    read_ledger,
    read_plan,
    save_contents,
)
from freezeplan.runs.checkpoints.optimizer_state import tensors_of
from freezeplan.runs.checkpoints.randomness import randomness, set_randomness
from freezeplan.runs.checkpoints.store import Checkpoint, CheckpointStore, Damaged, name_of, step_of
from freezeplan.runs.events import Observer
from freezeplan.runs.evidence import Evidence
from freezeplan.runs.interrupts import interrupt_after
from freezeplan.runs.ledger import Ledger, ledger_of, new_ledger
from freezeplan.runs.metrics_log import FILE as LOG
from freezeplan.runs.metrics_log import MetricsLog
from freezeplan.runs.phase_evidence import PhaseEvidence
from freezeplan.runs.position import Measured, Position, position_of
from freezeplan.runs.run_files import PREDICTIONS, SCORES, RunFiles
from freezeplan.runs.run_folder import RunFolder
from freezeplan.runs.tensor_files import lend_tensors
from freezeplan.runs.weight_files import remove_unused
from freezeplan.train.execution import STORE, STORED, Execution
from freezeplan.train.forward import Forward
from freezeplan.train.identity import identity_of
from freezeplan.train.measuring import Measuring, check_finite
from freezeplan.train.own_source import copy_own
from freezeplan.train.scaling import LossScale
from freezeplan.train.scheduling import ScheduledPhase
from freezeplan.train.settling import current_phase
from freezeplan.train.setup import Setup


@dataclass
class Running:
    """Hold everything that changes while a run goes on.

    ``validation`` holds the scores of the current weights when they were last evaluated. ``published`` is where
    the run stood when the weights in the folder were put there, ``saved_validation`` their scores, ``evidence``
    what their hashes prove. A run that only evaluates has no optimizer.
    """

    setup: Setup
    folder: RunFolder
    observer: Observer
    position: Position = field(default_factory=Position)
    log: MetricsLog = field(default_factory=MetricsLog)
    validation: Scores = field(default_factory=dict)
    evidence: Evidence | None = None
    published: Position = field(default_factory=Position)
    saved_validation: Scores = field(default_factory=dict)

    def __post_init__(self) -> None:
        setup = self.setup
        self.warnings: list[Diagnostic] = []
        labels = {task.name: task.labels for task in setup.tasks}
        plan, model, log = setup.plan, setup.model, self.log
        self.files = RunFiles(
            setup.spec, plan, model, setup.encoder, labels, log, setup.epochs, setup.attention
        )
        self.files.place = self.folder.path
        self.forward = Forward(model, setup.encoder, setup.device)
        self.measuring = Measuring(setup, self.forward, self.observer)
        self.scale = LossScale(setup.spec.train.precision, setup.device)
        self.ranks = setup.ranks
        self.execution = Execution(setup, self.forward, self.folder, STORE, self.observer)
        self.optimizer: torch.optim.Optimizer | None = None
        if not setup.evaluation_only:
            self.optimizer = build_optimizer(model, plan, **fused_option(model, plan))
        self.store = CheckpointStore(self.folder.path)
        self.ledger: Ledger = new_ledger(plan, model)
        self.identity = identity_of(setup)

    @property
    def scheduled(self) -> ScheduledPhase:
        """The current phase; one that the run itself decided to begin is laid out over what is left of the run."""
        return current_phase(self.setup, self.position)

    def enter_phase(self) -> None:
        """Put model and optimizer into the current phase, at the rates of its next step."""
        self.execution.leave_phase()
        if self.optimizer is not None:
            factor = self.scheduled.factor_at(self.position.phase_step)
            enter_phase(self.setup.model, self.optimizer, self.setup.plan, self.position.phase, factor=factor)
        if self.setup.spec.train.gradient_checkpointing:
            checkpoint_above(self.setup.model)

    def choose_execution(self) -> None:
        """Decide how the frozen part of the current phase runs; the store's files need the run's folder."""
        phase = self.position.phase
        share = self.scheduled.steps / max(1, self.setup.phases[phase].steps)
        statement = self._agreed(self.execution.enter_phase(phase, self._begin_folder, share))
        before = self.ledger.execution[-1]
        if before and before.startswith(STORED) != statement.startswith(STORED):
            message = "the run goes on in another way: the same bits as without the stop are not certain"
            notes = [f"the frozen part ran from: {before}", f"it now runs so: {statement}"]
            self.warnings.append(diagnostic("FP548", message, notes=notes))
        self.ledger.note_execution(statement)

    def _agreed(self, statement: str) -> str:
        """Run without a store on all ranks where one of them has none; returns what is to be said."""
        said = self.ranks.gather(statement)
        without = [at for at, found in enumerate(said) if not found.startswith(STORED)]
        if not without or len(without) == len(said):
            return statement
        self.forward.store = None
        return f"{said[without[0]]} (process {without[0]} of {len(said)}, so in none)"

    def _begin_folder(self) -> None:
        if not self.folder.started:
            self.write_checkpoint()

    def evaluate(self, split: str, tasks: tuple[str, ...] | None = None) -> Scores:
        """Return the scores of all tasks that have a split, or of some of them.

        Raises ``DiagnosticError`` (FP503) when a loss is not finite.
        """
        scores = self.measuring.scores(split, tasks, self.position.step)
        check_finite(self.setup.spec, split, scores, self.position.epoch)
        return scores

    def in_full(self, split: str) -> dict[str, dict[str, Any]]:
        """Return all that is known of how the final weights do on a split, in plain JSON types."""
        scores = self.validation if split == "validation" else self.files.test
        return self.measuring.in_full(split, self.position.step, scores)

    def publish(self, evidence: Evidence, *, everything: bool = False) -> None:
        """Put the current weights, with what is proved about them, into the run's folder."""
        standing = replace(self.position, sums=dict(self.position.sums))
        self.files.scored, self.files.checkpoints = self._measured(), None

        def write(place: Path) -> None:
            if everything or not self.folder.started:
                self.files.write_start(place)
            self.files.tensors.write(place, self._home, self.ledger.latest, self.ranks.announce)
            self._write_state(place, "running" if evidence.holds else "failed", standing, evidence)

        self.folder.publish(write)
        self.files.tensors.lend(self.ranks.announced([]))
        self.published, self.saved_validation, self.evidence = standing, self.validation, evidence

    def _measured(self) -> Measured | None:
        """Return the evaluation whose scores are those of the current weights, or of the last that were evaluated."""
        found = [item for item in self.position.history if item.scores == self.validation]
        return found[-1] if found else None

    def _write_state(self, place: Path, status: str, standing: Position, evidence: Evidence | None) -> None:
        self.files.write_state(place, self._home, status, standing, evidence)

    @property
    def _home(self) -> Path | None:
        return self.folder.path if self.folder.started else None

    def publish_answers(self) -> None:
        """Predict the test rows that have no labels, and put the answers into the run's folder.

        The first rank does, those that run the model with it for nothing; a stop meanwhile leaves the folder as it was.
        """

        def write(place: Path) -> None:
            self.measuring.write_answers(place)
            self._write_state(place, "running", self.published, self.evidence)

        self.folder.publish(write)
        self.measuring.take_part_in_answers()
        self.ranks.wait()

    def mark(self, status: str) -> None:
        """Write into the folder how the run stands, once it has put anything there."""
        if self.evidence is not None:
            standing = replace(self.published, ended=self.position.ended)
            self.files.checkpoints = self.store.hashes()
            self.folder.publish(lambda place: self._write_state(place, status, standing, self.evidence))
            self._remove_unused()

    def take_evidence(self, ended: str | None = None) -> tuple[Evidence, PhaseEvidence]:
        """Hash the model; return the evidence of the run so far, and of the current phase (``ended``: why).

        Raises ``DiagnosticError`` (FP555) when the processes do not hold the same bits.
        """
        position = self.position
        whole, current = self.ledger.take(
            self.setup.model, position.phase, position.phase_step, position.epoch, self.validation, ended
        )
        self.check_ranks()
        return replace(whole, processes=self.ranks.count), current

    def evidence_at_rest(self) -> Evidence:
        """Return the evidence of the run so far, also where the current phase is over."""
        if not self.position.over:
            return self.take_evidence()[0]
        whole = self.ledger.whole(self.setup.model, self.position.epoch)
        self.check_ranks()
        return replace(whole, processes=self.ranks.count)

    def check_ranks(self, **more: str) -> None:
        """Compare plan, data and the last hashes of all tensors, and ``more``, with those of the other ranks.

        Raises ``DiagnosticError`` (FP555) where they differ.
        """
        told = {
            "the plan": plan_hash(self.setup.plan),
            **{f"the {key}": value for key, value in more.items()},
        }
        told |= {f"`{name}`": digest for name, digest in self.ledger.latest.everything.items()}
        told["data and settings"] = json.dumps([self.identity[key] for key in ("data", "settings")])
        self.ranks.check_same(told, self.position.step)

    def write_checkpoint(self) -> None:
        """Write a checkpoint of the current step and remove those that are no longer kept.

        The run's folder is begun by it when no epoch is there yet; for a stop alone it replaces no other run.
        The first rank writes, with the random numbers of all; the others wait until the checkpoint is whole.
        """
        if not self._is_planned(self.position.step) and any(self.ranks.gather(self.folder.replaces)):
            return
        if not self.folder.started or self.published.step != self.position.step:
            self.publish(self.take_evidence()[0])
        states = self.ranks.gather(randomness())
        if self.ranks.first:
            self._write(states)
        elif self.ranks.together:  # They hold parts of what the first writes.
            lend_tensors(tensors_of(self.optimizer))
        self.ranks.wait()

    def _write(self, states: Sequence[Mapping[str, Any]]) -> None:
        step = self.position.step
        with self.folder.disk_errors():
            self.store.write(step, lambda place: self._fill(place, states))
            self._tidy()

    def _tidy(self, keep: Sequence[str] = ()) -> None:
        """Remove the checkpoints that are no longer kept, and what nothing refers to any more."""
        last, step = self.setup.spec.train.keep_last, self.position.step
        best = [name_of(self.position.best[0])] if self.position.best else []
        with interrupt_after():
            # What a stop made necessary is not one of those that are kept: the folder is as without it.
            kept = {*keep, *(name for name in self.store.names() if self._is_kept(step_of(name)))}
            self.store.remove(name for name in self.store.names() if name not in kept)
            extra = 0 if self._is_planned(step) else 1
            self.store.prune(step, last + extra, [*best, *self._needed(), *keep])
            self._remove_unused()

    def _clear_after_kill(self) -> None:
        """Take away what a killed process left: the log's end, and the checkpoints before the present one.

        Later checkpoints, of no use any more, stay until the next one is written.
        """
        later = [name for name in self.store.names() if step_of(name) > self.position.step]
        with self.folder.disk_errors():
            self.log.cut(self.folder.path / LOG)
            # A run that goes on after its end has other weights at the next one.
            (self.folder.path / SCORES).unlink(missing_ok=True)
            shutil.rmtree(self.folder.path / PREDICTIONS, ignore_errors=True)
            self._tidy(later)

    def _is_kept(self, step: int) -> bool:
        return step == self.position.step or self._is_planned(step)

    def _is_planned(self, step: int) -> bool:
        """Whether there is a checkpoint of a step in a run that nobody stops: the others are for a stop."""
        every = self.setup.spec.train.checkpoint_steps
        measured = any(item.step == step for item in self.position.history)
        return measured or step == 0 or (every is not None and step % every == 0)

    def _remove_unused(self) -> None:
        """Delete the files of tensors that neither the folder nor a checkpoint refers to."""
        if not self.folder.writes:
            return
        tensors = self.files.tensors
        used = {*tensors.weights, *tensors.buffers, *self.store.weight_files()}
        tensors.forget_but(used)
        with self.folder.disk_errors():
            remove_unused(self.folder.path, used)

    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint of the current step, as the first rank sees it."""
        return self.ranks.gather(name_of(self.position.step) in self.store.names())[0]

    def _fill(self, place: Path, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        plan = self.setup.plan
        more = save_contents(place, self.optimizer, self.ledger, self.files.plan_text, states)
        return {
            "phase": plan.phases[self.position.phase].name,
            "position": {**self.position.as_record(), "streams": self.setup.streams.marks()},
            "validation": {task: dict(values) for task, values in self.validation.items()},
            "weights": self.files.tensors.weights,
            "buffers": self.files.tensors.buffers,
            "log": self.log.standing,
            "optimizer": more,
            "identity": self.identity,
            "needs": self._needed(),
        }

    def _needed(self) -> list[str]:
        """Name the checkpoint of the best epoch so far, where the phase brings it back at its end."""
        best = self.best_epoch()
        if best is None or self.position.over or best.step == self.position.step:
            return []
        return [name_of(best.step)]

    def best_epoch(self) -> Measured | None:
        """Return the current phase's best epoch so far, where the phase brings it back."""
        length, seen = self.scheduled.phase.length, self.position.measured(self.position.phase)
        if not length.restore_best or length.metric is None or not seen:
            return None
        return seen[best_of(self._values(length.metric), falls_of(length))]

    def _values(self, metric: str) -> list[float]:
        seen = self.position.measured(self.position.phase)
        return [self.setup.value_of(metric, item.scores) for item in seen]

    def bring_back(self, best: Measured) -> None:
        """Put weights and optimizer state of an epoch's checkpoint in the place of the current ones.

        Raises ``DiagnosticError`` (FP549) when the checkpoint is damaged.
        """
        name = name_of(best.step)
        try:
            found = self.store.read(name)
        except Damaged as error:
            message = f"the best epoch cannot be brought back: checkpoint `{name}` is damaged: {error}"
            raise DiagnosticError([diagnostic("FP549", message)]) from None
        still = self.files.tensors.still(self.position.phase)
        load_tensors(found, self.folder.path, self.setup.model, self.optimizer, still)
        self.validation = best.scores
        self.measuring.forget()

    def reason_to_end(self) -> str | None:
        """Say why the current phase is over after the epoch that was evaluated last, None if it goes on."""
        position, scheduled = self.position, self.scheduled
        if position.ended is not None:
            return position.ended
        length = scheduled.phase.length
        if length.unit == "until":
            return reason_to_end(length, self._values(length.metric))
        if position.phase_step >= scheduled.steps:
            return "complete"
        return position.settled if position.frontier > position.phase else None

    def _reopen(self) -> None:
        """Go on with a phase, or a run, that was over under a length or a target that has changed since."""
        position, plan = self.position, self.setup.plan
        if position.ended and not reached(plan.stop_when, self.validation, plan.score):
            position.ended = None
        may_go_on = self.scheduled.course is not None and not self.scheduled.phase.length.restore_best
        if position.over and may_go_on and self.reason_to_end() is None:
            position.over = False
            self.ledger.reopen_phase()

    def restore(self, found: Checkpoint) -> None:
        """Go on from a checkpoint: everything as it was when it was written, the folder too."""
        self.position = position_of(found.state["position"])
        self.scale.go_on(self.position.scale)
        self.validation = found.state["validation"]
        self.log.go_on(self.folder.path / LOG, found.state["log"])
        self.enter_phase()
        load_tensors(found, self.folder.path, self.setup.model, self.optimizer)
        self.files.times.go_on(self.folder.path)
        self.files.tensors.known |= {**found.state["weights"], **found.state["buffers"]}
        self.ledger = ledger_of(self.setup.plan, read_ledger(found.path), self.setup.model)
        saved = read_plan(found.path)
        if record_hash(json.loads(saved)) == plan_hash(self.setup.plan):
            self.files.plan_text = saved
        self._reopen()
        self.files.model_files = partial(copy_own, self.folder.path)
        evidence = self.evidence_at_rest()
        with interrupt_after():
            self.publish(evidence, everything=True)
            if self.ranks.first:
                self._clear_after_kill()
        numbers = found.path / random_file(self.ranks.number)
        if numbers.is_file():  # One rank more than before goes on with numbers of its own.
            set_randomness(json.loads(numbers.read_text("utf-8")))
