"""Specs that someone wrote as the candidates of a comparison: trained as they are, on the same rows."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from freezeplan.choose.comparing import ComparisonCourse, Limits
from freezeplan.choose.comparison_files import identity_of, write_text
from freezeplan.choose.comparison_records import StrategyCandidate, StrategyComparison
from freezeplan.choose.kinds import COMPARED
from freezeplan.choose.predicting import Amounts, work_of
from freezeplan.choose.preparing import ComparisonStart, compared_tasks
from freezeplan.choose.probing import probed_tasks
from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.runs.events import Observer, Working, ignore_events
from freezeplan.runs.spec_file import spec_text
from freezeplan.spec.amounts import parse_bytes
from freezeplan.spec.tables import Spec, Task
from freezeplan.train.scheduling import whole
from freezeplan.train.sharing import shared_work


def compare_specs(
    specs: Mapping[str, Spec],
    folder: Path,
    limits: Limits | None = None,
    observer: Observer = ignore_events,
    announce: Callable[[StrategyComparison], None] | None = None,
) -> StrategyComparison:
    """Train specs that have the same tasks and data, and say which to choose.

    ``specs`` are by the names to call them by. All train as they are written, with the seed of the first, by successive
    halving as in a thorough :func:`freezeplan.choose.comparing.compare`; nothing is probed. Raises ``DiagnosticError``:
    FP598 where they differ in their tasks or count phases in steps, and what ``compare`` raises besides.
    """
    check_alike(specs)
    first = next(iter(specs.values()))
    identity = identity_of(list(specs.values()), list(specs))

    def begin() -> ComparisonStart:
        return _start(specs, folder, observer)

    with shared_work(parse_bytes(first.train.store_budget)):
        course = ComparisonCourse(first, folder, identity, begin, None, limits or Limits(), observer)
        return course.run(announce)


def check_alike(specs: Mapping[str, Spec]) -> None:
    """Raise ``DiagnosticError`` (FP598) for specs that cannot be judged by the same rows."""
    (name, first), *others = specs.items()
    for other, spec in others:
        if _learned(spec) != _learned(first) or spec.train.score != first.train.score:
            message = f"`{other}` has other tasks, data or another score than `{name}`: nothing compares them"
            advice = "give all of them the same [[task]] tables and `train.score`"
            raise DiagnosticError([diagnostic("FP598", message, help=advice)])


def _learned(spec: Spec) -> list[tuple[Any, ...]]:
    return [_of_task(spec, index, task) for index, task in enumerate(spec.task)]


def _of_task(spec: Spec, index: int, task: Task) -> tuple[Any, ...]:
    data = task.data
    columns = data.model_dump(exclude={"train", "validation", "test"}) if data else {}
    files = [
        [str(Path(part).resolve()) for part in getattr(data, split) or ()]
        for split in ("train", "validation")
        if data
    ]
    return (task.name, task.kind, columns, files)


def _start(specs: Mapping[str, Spec], folder: Path, observer: Observer) -> ComparisonStart:
    observer(Working("reading the data"))
    first = next(iter(specs.values()))
    tasks, _ = load_task_data(first)
    chosen, left_out = probed_tasks(tasks, COMPARED)
    if left_out:
        message = f"task `{left_out[0].task}` cannot be compared: {left_out[0].reason}"
        raise DiagnosticError([diagnostic("FP594", message, help="take the task out of the specs")])
    kinds = {task.name: (task.kind.name, task.kind.metric_names[0]) for task in chosen}
    amounts = Amounts(
        *(
            sum(len(task.splits[split]) for task in chosen if split in task.splits)
            for split in ("train", "validation")
        )
    )
    made = []
    for name, spec in specs.items():
        plan = compile_plan(inventory_for(spec), spec)
        path = folder / "specs" / f"{name}.toml"
        write_text(path, _text(spec, path.parent, first.train.seed))
        file = str(path.relative_to(folder))
        flops = work_of(spec, plan, amounts)
        words = f"as `{name}` says"
        made.append(StrategyCandidate(name, words, file, False, file, _epochs(name, plan), flops=flops))
    longest = max(item.epochs for item in made)
    return ComparisonStart(first.model.source or "", compared_tasks(first, kinds), longest, tuple(made))


def _epochs(name: str, plan: Plan) -> int:
    if any(phase.length.unit == "steps" for phase in plan.phases):
        message = (
            f"a phase of `{name}` is as long as a number of steps, and candidates are compared after epochs"
        )
        raise DiagnosticError([diagnostic("FP598", message, help="give the phase a number of `epochs`")])
    return whole(plan, [phase.length.count for phase in plan.phases])


def _text(spec: Spec, folder: Path, seed: int) -> str:
    values = tomllib.loads(spec_text(spec, folder))
    for task in values["task"]:
        task["data"].pop("test", None)
    values["train"] = {**values.get("train", {}), "seed": seed, "keep_last": 1}
    return tomli_w.dumps(values)
