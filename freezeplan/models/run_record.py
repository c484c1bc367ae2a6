"""The folder of a run, as a record: what the trainer writes and a later spec starts from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import closest_or_all
from freezeplan.models.sealed import Altered, fault_of, read_object, read_sealed
from freezeplan.outside.given_path import NoPath, given_path

RUN_MARKER = "run.json"
NAME_A_RUN = "name the folder that `train --out` wrote"
RUN_FORMAT = 2
NEXT = ".next"
"""Where files that are decided on wait to be moved into the folder: they count as moved."""
CHECKPOINTS = "checkpoints"
CHECKPOINT_STATE = "state.json"
CHECKPOINT_FORMAT = 2
BEST = "best"
UNLOADED = ("spec.toml", "plan.json", "metrics.jsonl", "evidence.json")
"""The files of a run that no model is made from."""


class NoCheckpointError(ValueError):
    """Say that a run has not the checkpoint that was asked for; ``advice`` says which there are."""

    def __init__(self, what: str, advice: str) -> None:
        self.what, self.advice = what, advice
        super().__init__(f"{what}: {advice}")


@dataclass(frozen=True)
class RunTask:
    """Hold one task of a run: its labels in the order of the head's outputs, its kind, its head, its columns."""

    labels: tuple[str, ...]
    kind: str = "classification"
    head: str = "linear"
    columns: Mapping[str, Any] = field(default_factory=dict)
    max_score: float | None = None

    @property
    def reads(self) -> str:
        """What its rows hold beside images, by the name of a kind of input."""
        for name in ("tokens", "prompt", "messages"):
            if name in self.columns:
                return name
        if "text_negative" in self.columns:
            return "text_triplet"
        return "text_pair" if "text_pair" in self.columns else "text"


@dataclass(frozen=True)
class RunRecord:
    """Hold what ``run.json`` says: the tasks with their heads, the pooling, the spec's file name, the weights.

    ``weights`` maps the files of tensors to their sha256, seen from the run's folder; ``files`` does so for
    everything that is there besides the checkpoints. ``checkpoint`` names the one that ``weights`` are of, where
    they are not those of the folder. ``everything`` is the whole record.
    """

    tasks: Mapping[str, RunTask] = field(default_factory=dict)
    pooling: str = "mean"
    spec: str = ""
    weights: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    checkpoint: str | None = None
    everything: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """The labels of each task, in the order of its head's outputs."""
        return {name: task.labels for name, task in self.tasks.items()}

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form that :func:`read_run` reads back, without the hashes of files."""
        tasks = {
            name: {"labels": list(task.labels), "kind": task.kind, "head": task.head}
            | ({} if task.max_score is None else {"max_score": task.max_score})
            for name, task in self.tasks.items()
        }
        return {
            "format_version": RUN_FORMAT,
            "tasks": tasks,
            "pooling": self.pooling,
            "spec": self.spec,
            "weights": dict(self.weights),
        }

    def check_files(self, folder: Path) -> None:
        """Check what a model is made from, weights aside; raises :class:`Altered`."""
        for name in self.files:
            if name not in UNLOADED and not name.endswith(".safetensors"):
                self.check_file(folder, name)

    def check_file(self, folder: Path, name: str) -> None:
        """Check one file against its hash, if it has one; raises :class:`Altered`."""
        expected = self.files.get(name)
        reason = None if expected is None else fault_of(file_of(folder, name), name, expected)
        if reason is not None:
            raise Altered(reason)


def file_of(folder: Path, name: str) -> Path:
    """Return where a file of a run lies: one that waits to be moved into the folder counts as moved."""
    waiting = folder / NEXT / name
    return waiting if os.path.exists(waiting) else folder / name


def home_of(folder: Path) -> tuple[Path, str | None]:
    """Return the folder of the run that a folder belongs to, and the checkpoint's name where it is one's."""
    above = folder.absolute().parents
    inside = len(above) > 1 and above[0].name == CHECKPOINTS and os.path.exists(folder / CHECKPOINT_STATE)
    return (above[1], folder.absolute().name) if inside else (folder, None)


def run_path(given: Any) -> Path:
    """Return what names the folder of a run as a path; raises ``DiagnosticError`` (FP520) for what is no path."""
    try:
        return given_path(given)
    except NoPath as problem:
        raise DiagnosticError([diagnostic("FP520", f"no run is named: {problem}", help=NAME_A_RUN)]) from None


def no_run(folder: Path, advice: str = NAME_A_RUN) -> DiagnosticError:
    """Return the error (FP520) that says why a path without a run's marker is not the folder of a run."""
    if os.path.isdir(folder):
        what = f"it has no `{RUN_MARKER}`"
    else:
        what = "it is a file" if os.path.isfile(folder) else "there is no such folder"
    message = f"`{folder}` is not the folder of a run: {what}"
    return DiagnosticError([diagnostic("FP520", message, help=advice)])


def read_run(folder: Path, checkpoint: str | None = None) -> RunRecord | None:
    """Read the marker of a run's folder; None when the folder holds none.

    ``checkpoint`` names the one whose weights are wanted, or is ``best``; those of the folder without it.
    Raises ``ValueError`` with a plain sentence when the marker is not the one that was written, or too old.
    """
    path = file_of(folder, RUN_MARKER)
    if not path.exists():
        return None
    _check_format(read_object(path), RUN_MARKER, RUN_FORMAT)
    found = _record(read_sealed(path))
    return found if checkpoint is None else _at_checkpoint(found, folder, checkpoint)


def read_state(folder: Path, checkpoint: str) -> dict[str, Any]:
    """Read what a checkpoint says of itself; raises :class:`Altered` when that is not what was written."""
    path = folder / CHECKPOINTS / checkpoint / CHECKPOINT_STATE
    _check_format(read_object(path), CHECKPOINT_STATE, CHECKPOINT_FORMAT)
    return read_sealed(path)


def _at_checkpoint(run: RunRecord, folder: Path, name: str) -> RunRecord:
    if name == BEST:
        best = run.everything.get("best")
        if not isinstance(best, dict):
            raise NoCheckpointError(
                "it keeps no best checkpoint", "`train.keep_best` names the metric that decides"
            )
        name = str(best.get("checkpoint"))
    place = folder / CHECKPOINTS
    known = sorted(item.name for item in place.iterdir() if item.name[:1] != ".") if place.is_dir() else []
    if name not in known:
        raise NoCheckpointError(f"it has no checkpoint `{name}`", closest_or_all(name, known, "checkpoints"))
    return replace(run, weights=_hashes(read_state(folder, name).get("weights")), checkpoint=name)


def _check_format(record: Mapping[str, Any], name: str, known: int) -> None:
    version = record.get("format_version")
    if str(version).partition(".")[0] != str(known):
        raise Altered(f"`{name}` has format_version {version!r}; this version reads {known}")


def _record(record: Mapping[str, Any]) -> RunRecord:
    tasks = record.get("tasks")
    if not isinstance(tasks, dict):
        raise Altered(f"`{RUN_MARKER}` has no table `tasks`")
    found = {name: _task(name, task) for name, task in tasks.items()}
    pooling, spec = str(record.get("pooling", "mean")), str(record.get("spec", ""))
    hashes = _hashes(record.get("weights")), _hashes(record.get("files"))
    return RunRecord(found, pooling, spec, *hashes, everything=record)


def _task(name: str, task: Any) -> RunTask:
    labels = task.get("labels") if isinstance(task, dict) else None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise Altered(f"`{RUN_MARKER}` lists no labels for the task `{name}`")
    columns = task.get("columns")
    return RunTask(
        tuple(labels),
        str(task.get("kind", "classification")),
        str(task.get("head", "linear")),
        columns if isinstance(columns, dict) else {},
        task.get("max_score"),
    )


def _hashes(found: Any) -> dict[str, str]:
    """Return a table of files and hashes whose names stay inside the folder."""
    if not isinstance(found, dict) or not found:
        raise Altered(f"`{RUN_MARKER}` lists no files")
    for name, digest in found.items():
        if not isinstance(digest, str) or name.startswith(("/", "\\")) or ".." in Path(name).parts:
            raise Altered(f"`{RUN_MARKER}` lists `{name}`, which no run writes")
    return dict(found)
