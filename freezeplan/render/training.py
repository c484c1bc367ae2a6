"""What the bundled trainer is to do besides the plan: its tasks, their losses, and the shape of a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from freezeplan.diagnostics.wording import counted, format_count, format_number
from freezeplan.inventory.structure import is_under
from freezeplan.render.schedule import Fact, length_text, span
from freezeplan.spec.streams import SHUFFLE_BUFFER, is_streamed
from freezeplan.tasks import TASK_KINDS
from freezeplan.tasks.kind import COMPARE
from freezeplan.tasks.scaling import LOG_CLASSES

if TYPE_CHECKING:
    from freezeplan.plan.records import Plan
    from freezeplan.plan.stepping import StepCount
    from freezeplan.spec.tables import Spec, Task

COMPARED = "a trained comparison"
SHARING = ("proportional", "temperature")
READ = {
    "text": "texts",
    "text_pair": "text pairs",
    "text_triplet": "text triplets",
    "tokens": "texts in words",
    "image": "images",
    "prompt": "completions",
    "messages": "conversations",
}
MIXINGS = {
    "alternate": "one task per step, in turn (alternate)",
    "joint": "a batch of each task per step, losses summed (joint)",
    "proportional": "one task per step, in proportion to its rows (proportional)",
    "temperature": "one task per step, in proportion to rows^(1/{}) (temperature)",
}


def training_record(spec: Spec, plan: Plan, steps: Sequence[StepCount | None] = ()) -> dict[str, Any]:
    """Return the tasks of a spec and its ``[train]`` table as plain JSON types, keys in a fixed order.

    ``steps`` are the counts of the phases where the rows could be counted: ``steps_per_epoch`` is None where not, and
    in phases in which no task learns. ``labels`` counts the outputs of a task's head; ``epochs`` is None where phases
    have lengths of their own. A spec without tasks, which the bundled trainer does not train, has ``"tasks": []`` and
    ``"training": None``.
    """
    if not spec.task:
        return {"tasks": [], "training": None}
    table = spec.train.model_dump(mode="json")
    alone = not spec.phase and spec.gradual is None
    counts = [_steps(count) for count in steps] or None
    training = {**table, "epochs": table["epochs"] if alone else None, "steps_per_epoch": counts}
    return {"tasks": [_task(task, plan) for task in spec.task], "training": training}


def _steps(count: StepCount | None) -> dict[str, Any] | None:
    """Return how many steps an epoch of a phase has, and how many of them each task that learns in it takes."""
    return count and {"all": count.steps_per_epoch, "tasks": count.turns_per_epoch}


def _task(task: Task, plan: Plan) -> dict[str, Any]:
    reads = task.data.kind if task.data else "text"
    return {
        "name": task.name,
        "kind": task.kind,
        "reads": reads,
        "head": task.head,
        "labels": _outputs(task, plan),
        "loss_weight": task.weight,
        "scale": task.scale,
        "batch_size": task.batch_size,
        "label_smoothing": task.label_smoothing,
        "class_weights": task.class_weights,
        "temperature": task.temperature,
        "matryoshka": task.matryoshka,
        "streamed": _streamed(task),
    }


def _streamed(task: Task) -> dict[str, Any] | None:
    """Return how a task's training rows are streamed, None where they are read whole."""
    if not is_streamed(task):
        return None
    buffer = task.data.shuffle_buffer or SHUFFLE_BUFFER
    return {"steps_per_epoch": task.data.steps_per_epoch, "shuffle_buffer": buffer}


def _outputs(task: Task, plan: Plan) -> int | None:
    """Return the width of a task's head: the first axis of its last tensor."""
    shapes = [param.shape for param in plan.params if is_under(param.name, f"heads.{task.name}")]
    return shapes[-1][0] if shapes else None


def task_facts(record: dict[str, Any]) -> Iterator[Fact]:
    """Yield a line per task, the first of them with the label ``tasks``."""
    several = len(record["tasks"]) > 1
    for index, task in enumerate(record["tasks"]):
        weight = f", loss weight {format_number(task['loss_weight'])}{_scale(task)}"
        output = TASK_KINDS[task["kind"]].output
        labels = counted(task["labels"], output) if task["labels"] is not None else f"{output}s unknown"
        labels = labels if output else _said(task)
        text = f"{task['name']}: {task['kind']} of {READ[task['reads']]}, {labels}"
        shown = several or task["loss_weight"] != 1 or task["scale"]
        line = text + (weight if shown else "") + "".join(_options(task))
        yield "" if index else "tasks" if several else "task", line


def _said(task: dict[str, Any]) -> str:
    return COMPARED if task["head"] == COMPARE else TASK_KINDS[task["kind"]].said


def _scale(task: dict[str, Any]) -> str:
    return f" / ln {task['labels'] or 'of the classes'}" if task["scale"] == LOG_CLASSES else ""


def _options(task: dict[str, Any]) -> Iterator[str]:
    """Yield what a task's loss has besides, each after a comma."""
    if task["batch_size"]:
        yield f", batches of {format_count(task['batch_size'])}"
    if task["label_smoothing"]:
        yield f", label smoothing {format_number(task['label_smoothing'])}"
    if task["class_weights"]:
        named = (f"{name} {format_number(weight)}" for name, weight in task["class_weights"].items())
        yield f", class weights {', '.join(named)}"
    if task["temperature"]:
        yield f", temperature {format_number(task['temperature'])}"
    if task["matryoshka"]:
        yield f", loss of vectors cut to {', '.join(map(format_count, task['matryoshka']))}"
    if task["streamed"]:
        steps, rows = task["streamed"]["steps_per_epoch"], task["streamed"]["shuffle_buffer"]
        yield f", streamed: {counted(steps, 'step')} an epoch, shuffled {format_count(rows)} rows at a time"


def training_facts(record: dict[str, Any], plan: Plan) -> Iterator[Fact]:
    """Yield how long the run is and what one step takes, in a line; nothing for a spec without tasks."""
    table = record["training"]
    if table is None:
        return
    whole = counted(table["epochs"], "epoch") if plan.freeze_when else length_text(plan.phases[0].length)
    parts = [whole] if table["epochs"] is not None else []
    parts.append(_batches(table["batch_size"], table["accumulation"]))
    if table["precision"] != "float32":
        parts.append(f"computed in {table['precision']}")
    if table["gradient_checkpointing"]:
        parts.append("layers run again in the backward pass")
    if len(record["tasks"]) > 1:
        parts.append(MIXINGS[table["mixing"]].format(format_number(table["temperature"] or 1)))
    if table["balancing"]:
        parts.append(f"shared gradients balanced by {table['balancing']}")
    yield "training", ", ".join(parts)
    if table["steps_per_epoch"] and table["mixing"] in SHARING:
        yield from _share_facts(table["steps_per_epoch"])


def _share_facts(steps: Sequence[dict[str, Any] | None]) -> Iterator[Fact]:
    """Yield the steps of an epoch with each task's share of them, a line for phases one after the other that agree."""
    stretches = [
        (item, [place for place, _ in found]) for item, found in groupby(enumerate(steps, 1), _second)
    ]
    for item, places in stretches:
        if item is None:
            continue
        shares = (f"{name} {_share(count, item['all'])}" for name, count in item["tasks"].items())
        where = f"{'phase' if len(places) == 1 else 'phases'} {span(places)}, " if len(stretches) > 1 else ""
        yield "steps", f"{where}{format_count(item['all'])} per epoch: {', '.join(shares)}"


def _second(pair: tuple[int, Any]) -> Any:
    return pair[1]


def _share(count: int, whole: int) -> str:
    return f"{format_count(count)} ({100 * count / whole:.0f} %)"


def _batches(size: int, accumulation: int) -> str:
    if accumulation == 1:
        return f"batches of {format_count(size)}"
    rows = f"{format_count(size * accumulation)} rows"
    return f"batches of {format_count(size)}, {format_count(accumulation)} of them per step ({rows})"
