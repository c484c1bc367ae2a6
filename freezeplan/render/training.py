"""What the bundled trainer is to do besides the plan: its tasks, their losses, and the shape of a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from freezeplan.diagnostics.wording import counted, format_count, format_number
from freezeplan.render.schedule import Fact, length_text
from freezeplan.tasks import TASK_KINDS

if TYPE_CHECKING:
    from freezeplan.plan.records import Plan
    from freezeplan.spec.tables import Spec, Task

READ = {"text": "texts", "text_pair": "text pairs", "tokens": "texts in words", "image": "images"}
MIXINGS = {
    "alternate": "one task per step, in turn (alternate)",
    "joint": "a batch of each task per step, losses summed (joint)",
}


def training_record(spec: Spec, plan: Plan) -> dict[str, Any]:
    """Return the tasks of a spec and its ``[train]`` table as plain JSON types, keys in a fixed order.

    ``labels`` counts the outputs of a task's head; ``epochs`` is None where phases have lengths of their own.
    A spec without tasks, which the bundled trainer does not train, has ``"tasks": []`` and ``"training": None``.
    """
    if not spec.task:
        return {"tasks": [], "training": None}
    table = spec.train.model_dump(mode="json")
    alone = not spec.phase and spec.gradual is None
    training = {**table, "epochs": table["epochs"] if alone else None}
    return {"tasks": [_task(task, plan) for task in spec.task], "training": training}


def _task(task: Task, plan: Plan) -> dict[str, Any]:
    reads = task.data.kind if task.data else "text"
    return {
        "name": task.name,
        "kind": task.kind,
        "reads": reads,
        "labels": _outputs(task, plan),
        "loss_weight": task.weight,
        "label_smoothing": task.label_smoothing,
        "class_weights": task.class_weights,
    }


def _outputs(task: Task, plan: Plan) -> int | None:
    """Return the width of a task's head: the first axis of its last tensor."""
    shapes = [param.shape for param in plan.params if param.name.startswith(f"heads.{task.name}.")]
    return shapes[-1][0] if shapes else None


def task_facts(record: dict[str, Any]) -> Iterator[Fact]:
    """Yield a line per task, the first of them with the label ``tasks``."""
    several = len(record["tasks"]) > 1
    for index, task in enumerate(record["tasks"]):
        weight = f", loss weight {format_number(task['loss_weight'])}"
        output = TASK_KINDS[task["kind"]].output
        labels = counted(task["labels"], output) if task["labels"] is not None else f"{output}s unknown"
        labels = labels if output else "cosine"
        text = f"{task['name']}: {task['kind']} of {READ[task['reads']]}, {labels}"
        shown = several or task["loss_weight"] != 1
        line = text + (weight if shown else "") + "".join(_options(task))
        yield "" if index else "tasks" if several else "task", line


def _options(task: dict[str, Any]) -> Iterator[str]:
    """Yield what a task's loss has besides, each after a comma."""
    if task["label_smoothing"]:
        yield f", label smoothing {format_number(task['label_smoothing'])}"
    if task["class_weights"]:
        named = (f"{name} {format_number(weight)}" for name, weight in task["class_weights"].items())
        yield f", class weights {', '.join(named)}"


def training_facts(record: dict[str, Any], plan: Plan) -> Iterator[Fact]:
    """Yield how long the run is and what one step takes, in a line; nothing for a spec without tasks."""
    table = record["training"]
    if table is None:
        return
    parts = [length_text(plan.phases[0].length)] if table["epochs"] is not None else []
    parts.append(_batches(table["batch_size"], table["accumulation"]))
    if len(record["tasks"]) > 1:
        parts.append(MIXINGS[table["mixing"]])
    yield "training", ", ".join(parts)


def _batches(size: int, accumulation: int) -> str:
    if accumulation == 1:
        return f"batches of {format_count(size)}"
    rows = f"{format_count(size * accumulation)} rows"
    return f"batches of {format_count(size)}, {format_count(accumulation)} of them per step ({rows})"
