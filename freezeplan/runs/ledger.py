"""The evidence of a run as it grows: hashes at every boundary, what each phase saw, the drift of frozen heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from freezeplan.apply.ending import Scores
from freezeplan.apply.fingerprints import Fingerprints, fingerprints
from freezeplan.inventory.structure import is_under
from freezeplan.plan.records import Plan
from freezeplan.runs.evidence import Evidence, compare
from freezeplan.runs.gradients import GradientWatch, joined, watch_of
from freezeplan.runs.phase_evidence import Drift, PhaseEvidence


@dataclass
class Ledger:
    """Collect a run's evidence, phase by phase.

    ``start`` are the hashes before the first step, ``phase_start`` those before the current phase, ``latest``
    the last that were taken. ``watches`` holds one per phase so far, ``finished`` the records of the phases
    that are over. ``frozen_at`` maps each task whose head is frozen while the backbone trains to the phase in
    which that began and the scores it had then. ``execution`` says of each phase so far how its frozen part ran.
    """

    plan: Plan
    start: Fingerprints
    phase_start: Fingerprints
    latest: Fingerprints
    watches: list[GradientWatch] = field(default_factory=list)
    finished: list[dict[str, Any]] = field(default_factory=list)
    frozen_at: dict[str, dict[str, Any]] = field(default_factory=dict)
    execution: list[str] = field(default_factory=list)

    @property
    def watch(self) -> GradientWatch:
        """What is seen of the current phase."""
        return self.watches[-1]

    def begin_phase(self, phase: int) -> None:
        """Begin a phase with the hashes that the one before ended with."""
        self.phase_start = self.latest
        self.execution.append("")
        self.watches.append(GradientWatch(self.plan.names(phase, trainable=True)))
        self.frozen_at = {
            task: found for task, found in self.frozen_at.items() if _head_frozen(self.plan, phase, task)
        }

    def note_execution(self, statement: str) -> None:
        """Remember how the frozen part of the current phase runs."""
        self.execution[-1] = statement

    def tasks_to_measure(self, phase: int) -> tuple[str, ...]:
        """Return the tasks whose scores at the start of a phase are what their drift is counted from."""
        return tuple(task for task in drifting_tasks(self.plan, phase) if task not in self.frozen_at)

    def note_frozen(self, phase: int, scores: Scores) -> None:
        """Remember the scores of heads that are frozen from here on."""
        for task, values in scores.items():
            self.frozen_at[task] = {"since": self.plan.phases[phase].name, "scores": dict(values)}

    def take(
        self, model: torch.nn.Module, phase: int, steps: int, epoch: int, scores: Scores, ended: str | None
    ) -> tuple[Evidence, PhaseEvidence]:
        """Hash the model; return the evidence of the whole run so far, and that of the current phase in it.

        At the end of a phase (``ended``: why) every byte is read. Within one, what it freezes keeps its hash as
        long as nothing was seen to write to it.
        """
        self.latest = fingerprints(model) if ended else self._within(model, phase)
        own = compare(model, self.plan, self.phase_start, self.latest, self.watch, epoch, phase)
        drift = self._drift(phase, scores) if ended else ()
        name = self.plan.phases[phase].name
        current = PhaseEvidence(name, phase, steps, ended, own, self.watch, drift, self.execution[phase])
        whole = compare(model, self.plan, self.start, self.latest, joined(self.watches), epoch)
        return replace(whole, phases=(*self.finished, current.as_record())), current

    def _within(self, model: torch.nn.Module, phase: int) -> Fingerprints:
        still = (*self.plan.names(phase, trainable=False), *fixed_buffers(self.plan, phase, self.latest))
        return fingerprints(model, since=self.latest, still=still)

    def whole(self, model: torch.nn.Module, epoch: int) -> Evidence:
        """Hash the model; return the evidence of the phases that are over."""
        self.latest = fingerprints(model)
        whole = compare(model, self.plan, self.start, self.latest, joined(self.watches), epoch)
        return replace(whole, phases=tuple(self.finished))

    def close_phase(self, current: PhaseEvidence) -> None:
        """Keep the record of a phase that is over."""
        self.finished.append(current.as_record())

    def reopen_phase(self) -> None:
        """Take the record of the last phase out again: it goes on."""
        self.finished.pop()

    def _drift(self, phase: int, scores: Scores) -> tuple[Drift, ...]:
        return tuple(
            Drift(task, self.frozen_at[task]["since"], self.frozen_at[task]["scores"], scores[task])
            for task in drifting_tasks(self.plan, phase)
            if task in self.frozen_at and task in scores
        )

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "start": self.start.as_record(),
            "phase_start": self.phase_start.as_record(),
            "watches": [watch.as_record() for watch in self.watches],
            "finished": self.finished,
            "frozen_at": self.frozen_at,
            "execution": self.execution,
        }


def new_ledger(plan: Plan, model: torch.nn.Module) -> Ledger:
    """Return the ledger of a run that begins with this model."""
    start = fingerprints(model)
    return Ledger(plan, start, start, start)


def ledger_of(plan: Plan, record: Mapping[str, Any], model: torch.nn.Module) -> Ledger:
    """Return the ledger that :meth:`Ledger.as_record` wrote when the model was as it is now."""
    return Ledger(
        plan,
        Fingerprints(**record["start"]),
        Fingerprints(**record["phase_start"]),
        fingerprints(model),
        [watch_of(item) for item in record["watches"]],
        list(record["finished"]),
        dict(record["frozen_at"]),
        list(record["execution"]),
    )


def check_record(record: Mapping[str, Any]) -> None:
    """Make sure that a record is one that :meth:`Ledger.as_record` can have written.

    Raises whatever a record of another form leads to: ``KeyError``, ``TypeError``, ``ValueError``,
    ``AttributeError``.
    """
    for part in ("start", "phase_start"):
        Fingerprints(**record[part]).everything.items()
    watches = [watch_of(item) for item in record["watches"]]
    phases = [(item["phase"], item["violations"], item["tensors"]) for item in record["finished"]]
    if not len(phases) <= len(watches) == len(record["execution"]):
        raise ValueError("its phases do not add up")
    _ = [(item["since"], item["scores"].items()) for item in record["frozen_at"].values()]


def fixed_buffers(plan: Plan, phase: int, hashes: Fingerprints) -> tuple[str, ...]:
    """Return the names of the buffers of modules that a phase keeps in eval mode."""
    fixed = set(plan.phases[phase].eval_modules)
    return tuple(name for name in hashes.buffers if name.rpartition(".")[0] in fixed)


def drifting_tasks(plan: Plan, phase: int) -> tuple[str, ...]:
    """Return the tasks whose head is frozen in a phase while the backbone under it trains."""
    if not any(name.startswith("backbone.") for name in plan.names(phase, trainable=True)):
        return ()
    tasks = [param.name.split(".")[1] for param in plan.params if param.name.startswith("heads.")]
    return tuple(task for task in dict.fromkeys(tasks) if _head_frozen(plan, phase, task))


def _head_frozen(plan: Plan, phase: int, task: str) -> bool:
    return not any(is_under(name, f"heads.{task}") for name in plan.names(phase, trainable=True))
