"""The folder of a finished run, as a record: what the trainer writes and a later spec starts from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freezeplan.outside.regular import read_regular

RUN_MARKER = "run.json"
RUN_FORMAT = 1
RUN_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class RunTask:
    """Hold one task of a run: its labels in the order of the head's outputs, and its kind."""

    labels: tuple[str, ...]
    kind: str = "classification"


@dataclass(frozen=True)
class RunRecord:
    """Hold what ``run.json`` says: the tasks with their heads, the pooling, the spec's file name."""

    tasks: Mapping[str, RunTask] = field(default_factory=dict)
    pooling: str = "mean"
    spec: str = ""

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """The labels of each task, in the order of its head's outputs."""
        return {name: task.labels for name, task in self.tasks.items()}

    def as_record(self) -> dict[str, Any]:
        """Return the JSON form that :func:`read_run` reads back."""
        tasks = {name: {"labels": list(task.labels), "kind": task.kind} for name, task in self.tasks.items()}
        return {"format_version": RUN_FORMAT, "tasks": tasks, "pooling": self.pooling, "spec": self.spec}


def read_run(folder: Path) -> RunRecord | None:
    """Read the marker of a run's folder; None when the folder holds none.

    Raises ``ValueError`` with a plain sentence when the marker cannot be used.
    """
    path = folder / RUN_MARKER
    if not os.path.lexists(path):
        return None
    try:
        record = json.loads(read_regular(path).decode("utf-8"))
    except OSError as error:
        raise ValueError(f"`{RUN_MARKER}` cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"`{RUN_MARKER}` is not readable JSON ({error})") from None
    return _record(record)


def _record(record: Any) -> RunRecord:
    version = record.get("format_version") if isinstance(record, dict) else None
    if str(version).partition(".")[0] != str(RUN_FORMAT):
        raise ValueError(f"`{RUN_MARKER}` has format_version {version!r}; this version reads {RUN_FORMAT}")
    tasks = record.get("tasks")
    if not isinstance(tasks, dict):
        raise ValueError(f"`{RUN_MARKER}` has no table `tasks`")
    found = {name: _task(name, task) for name, task in tasks.items()}
    return RunRecord(found, str(record.get("pooling", "mean")), str(record.get("spec", "")))


def _task(name: str, task: Any) -> RunTask:
    labels = task.get("labels") if isinstance(task, dict) else None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"`{RUN_MARKER}` lists no labels for the task `{name}`")
    return RunTask(tuple(labels), str(task.get("kind", "classification")))
