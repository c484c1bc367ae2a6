"""The files of a run's folder: weights, tokenizer or image processor, plan, spec, how far the run got."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

import torch

from freezeplan.apply.ending import Scores, score_of
from freezeplan.data.encoder import Encoder
from freezeplan.data.reader import targets_of
from freezeplan.models.attention import save_config
from freezeplan.models.run_record import RUN_MARKER, RunRecord, RunTask
from freezeplan.models.sealed import file_sha256, write_sealed
from freezeplan.plan.document import as_json, plan_hash, to_record
from freezeplan.plan.records import Plan
from freezeplan.runs.checkpoints.store import name_of
from freezeplan.runs.evidence import Evidence
from freezeplan.runs.metrics_log import FILE as LOG
from freezeplan.runs.metrics_log import MetricsLog
from freezeplan.runs.position import Measured, Position
from freezeplan.runs.run_folder import write_json
from freezeplan.runs.spec_file import SPEC_NOTE, spec_text
from freezeplan.runs.times import TIMES, Times
from freezeplan.runs.weight_files import WeightFiles
from freezeplan.spec.tables import Spec
from freezeplan.spec.validators import one_or_list

SCORES = "scores.json"
PREDICTIONS = "predictions"
LIBRARIES = ("freezeplan", "torch", "transformers", "tokenizers", "datasets", "accelerate", "safetensors")


@dataclass
class RunFiles:
    """Know what a run's files hold; each ``write_…`` puts some of them into a folder.

    ``labels`` maps the tasks to their labels in the order of the heads' outputs; ``epochs`` counts those of the
    whole run, at most. ``hashes`` holds the sha256 of every file that was written, for ``run.json``.
    ``plan_text`` is the plan as JSON; a resumed run keeps the one it began with, whose advice has its places, and
    its config and encoder, which ``model_files`` then copies. ``attention`` is what the config asks for.
    ``scored`` is the evaluation that the weights were last measured by, ``test`` the scores on test data; at the end
    of a run ``in_full`` holds all that was counted on either.
    ``place`` is the run's folder, there or to be made; ``checkpoints`` maps those that a run has at its end to
    the sha256 of their state.
    """

    spec: Spec
    plan: Plan
    model: torch.nn.Module
    encoder: Encoder
    labels: Mapping[str, tuple[str, ...]]
    log: MetricsLog
    epochs: int
    attention: Mapping[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    times: Times = field(default_factory=Times)
    scored: Measured | None = None
    test: Scores = field(default_factory=dict)
    in_full: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    place: Path | None = None
    checkpoints: dict[str, str] | None = None

    def __post_init__(self) -> None:
        self.plan_text = as_json(without_folders(to_record(self.plan)))
        self.model_files: Callable[[Path], None] | None = None
        self.tensors = WeightFiles(self.model, self.plan)

    def write_start(self, folder: Path) -> None:
        """Write what stays the same for the whole run: the backbone's config, the encoder, spec and plan."""
        if self.model_files is None:
            save_config(self.model.backbone.config, self.attention, folder)
            self.encoder.save(folder)
        else:
            self.model_files(folder)
        (folder / "spec.toml").write_text(SPEC_NOTE + spec_text(self.spec, self.place), "utf-8")
        (folder / "plan.json").write_text(self.plan_text, "utf-8")

    def write_state(
        self, folder: Path, home: Path | None, status: str, position: Position, evidence: Evidence | None
    ) -> None:
        """Write how far the run got: ``metrics.jsonl``, ``evidence.json`` if there is any, ``run.json``.

        ``home`` is the run's folder where the log grows, None when it is still to be made. ``run.json`` holds
        the sha256 of every other file, and its own: what it names is what the run is.
        """
        self.log.append((home or folder) / LOG)
        if evidence is not None:
            write_json(folder / "evidence.json", evidence.as_record())
        if self.in_full:
            write_json(folder / SCORES, self.in_full)
        found = {item.relative_to(folder).as_posix(): item for item in sorted(folder.rglob("*"))}
        plain = {name: path for name, path in found.items() if path.is_file() and name not in (LOG, TIMES)}
        self.hashes |= {
            name: file_sha256(path) for name, path in plain.items() if name not in self.tensors.known
        }
        self.times.note(self.plan.phases[position.phase].name)
        self.times.write(folder)
        write_sealed(folder / RUN_MARKER, self._record(status, position, evidence))

    def _scores(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.scored is not None and self.scored.scores:
            found["validation"] = {
                "epoch": self.scored.epoch,
                "step": self.scored.step,
                "scores": plain_scores(self.scored.scores),
                **self._score(self.scored.scores),
            }
        if self.test:
            found["test"] = {"scores": plain_scores(self.test), **self._score(self.test)}
        return found

    def _score(self, scores: Scores) -> dict[str, float]:
        score = score_of(scores, self.plan.score)
        return {} if score is None else {"score": score}

    def _best(self, position: Position) -> dict[str, Any] | None:
        """Return which checkpoint ``train.keep_best`` keeps, and its value."""
        if position.best is None:
            return None
        step, value = position.best
        return {"checkpoint": name_of(step), "metric": self.spec.train.keep_best, "value": value}

    @property
    def _files(self) -> dict[str, str]:
        tensors = {**self.tensors.weights, **self.tensors.buffers}
        return dict(sorted({**self.hashes, **tensors, LOG: self.log.standing["sha256"]}.items()))

    def _record(self, status: str, position: Position, evidence: Evidence | None) -> dict[str, Any]:
        tasks = {
            task.name: RunTask(tuple(self.labels[task.name]), task.kind, task.head, max_score=task.max_score)
            for task in self.spec.task
        }
        record = RunRecord(tasks, self.model.pooling, "spec.toml", self.tensors.weights).as_record()
        for task in self.spec.task:
            if task.data is not None:
                learned = targets_of(task)
                targets = {task.data.target_key: one_or_list(list(learned))} if learned else {}
                record["tasks"][task.name]["columns"] = {**task.data.inputs, **targets}
        return record | {
            "status": status,
            "epoch": position.epoch,
            "epochs": self.epochs,
            "step": position.step,
            "phase": self.plan.phases[position.phase].name,
            "ended": position.ended,
            "scores": self._scores(),
            "best": self._best(position),
            "checkpoints": self.checkpoints,
            "execution": _execution(evidence),
            "input": self.encoder.kind.name,
            "max_length": self.encoder.max_length,
            "eval_batch_size": self.spec.train.eval_batch_size,
            "dtype": self.spec.model.dtype,
            "frozen_dtype": self.spec.model.frozen_dtype,
            "precision": self.spec.train.precision,
            "libraries": libraries(),
            "plan_hash": plan_hash(self.plan),
            "log_bytes": self.log.length,
            "files": self._files,
        }


def without_folders(record: dict[str, Any]) -> dict[str, Any]:
    """Return a plan's record with the bare names of the files that its advice points into."""
    spans = (item["span"] for item in record["diagnostics"])
    for span in spans:
        if span is not None and span.get("file"):
            span["file"] = PurePath(span["file"]).name
    return record


def plain_scores(scores: Scores) -> dict[str, dict[str, float]]:
    """Return scores as plain JSON types."""
    return {task: dict(values) for task, values in scores.items()}


def _execution(evidence: Evidence | None) -> dict[str, str]:
    """Return how the frozen part of each phase so far ran, by the phase's name."""
    phases = evidence.phases if evidence else ()
    return {item["phase"]: item["execution"] for item in phases if item["execution"]}


def libraries() -> dict[str, str | None]:
    """Return the versions of the libraries that a run's results depend on."""
    return {name: _version(name) for name in LIBRARIES}


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
