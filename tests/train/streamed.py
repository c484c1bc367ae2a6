"""Specs of other tests with training rows that are streamed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from freezeplan.data.task_rows import load_task_data
from freezeplan.spec.tables import Spec, Task
from freezeplan.tasks import task_kind
from tests.train.phased import every_kind


def streaming(spec: Spec, names: Collection[str] = (), *, steps: int = 4, buffer: int = 20) -> Spec:
    """Return a spec whose tasks, or those named, stream their rows, with the labels that their data have."""
    labels = {task.name: list(task.labels) for task in load_task_data(spec)[0]}
    tasks = [
        _streamed(task, labels[task.name], steps, buffer) if not names or task.name in names else task
        for task in spec.task
    ]
    return spec.model_copy(update={"task": tasks})


def half_streamed(toy: Path) -> Spec:
    """Return a spec with phases of every kind, one task of which streams its rows."""
    return streaming(every_kind(toy, "joint", checkpoint_steps=3), ["topic"])


def _streamed(task: Task, labels: list[str], steps: int, buffer: int) -> Task:
    update = {"stream": True, "steps_per_epoch": steps, "shuffle_buffer": buffer}
    data = task.data.model_copy(update=update)
    return task.model_copy(
        update={"data": data} | ({"labels": labels} if task_kind(task).takes_labels else {})
    )


def in_shards(path: Path, count: int = 4) -> Path:
    """Cut a file of lines into several; returns their folder."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    for number in range(count):
        part = lines[number * len(lines) // count : (number + 1) * len(lines) // count]
        (folder / f"{number}.jsonl").write_text("".join(part), "utf-8")
    return folder
