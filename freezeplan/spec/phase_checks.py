"""Checks of phases, gradual unfreezing, schedules and metrics, between keys and between tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.diagnostics.wording import closest, quoted
from freezeplan.spec.checks import repeated_names
from freezeplan.spec.document import Document, printable
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.problems import label
from freezeplan.spec.task_checks import DEFAULT, kind_written
from freezeplan.tasks import TASK_KINDS, TaskKind, falls, metric_names

LENGTHS = ("epochs", "steps", "until")
SLANTED = "slanted_triangular"


def check_phases(document: Document) -> Iterator[Diagnostic]:
    """Yield every problem of the tables that lay out the run in time."""
    yield from _exclusions(document)
    yield from repeated_names(document, "phase")
    phases = list(document.entries("phase"))
    if document.data.get("gradual") is not None:
        phases.append((("gradual",), document.table("gradual")))
    for path, phase in phases:
        yield from _length(document, path, phase)
        yield from _until(document, (*path, "until"), phase.get("until"))
    yield from _schedules(document, [path for path, _ in phases])
    yield from _metrics(document, [(*path, "until", "metric") for path, _ in phases])
    yield from _stop(document)


def _exclusions(document: Document) -> Iterator[Diagnostic]:
    has_phases, has_gradual = bool(document.data.get("phase")), document.data.get("gradual") is not None
    if has_phases and has_gradual:
        message = "`[gradual]` stands for phases of its own: it excludes `[[phase]]`"
        yield at_key(("gradual",), "FP131", message, help="keep one of the two", part=KeyPart.HEADER)
    if (has_phases or has_gradual) and document.table("train").get("epochs") is not None:
        message = "`train.epochs` has no effect: the phases say how long the run is"
        yield at_key(("train", "epochs"), "FP132", message, help="remove the key", part=KeyPart.KEY)
    if (has_phases or has_gradual) and document.table("train").get("restore_best") is not None:
        message = "`train.restore_best` has no effect: each phase says whether its best epoch comes back"
        advice = "write `restore_best = true` in the `until` of a phase"
        yield at_key(("train", "restore_best"), "FP132", message, help=advice, part=KeyPart.KEY)


def _length(document: Document, path: KeyPath, phase: dict[str, Any]) -> Iterator[Diagnostic]:
    given = [key for key in phase if key in LENGTHS and phase[key] is not None]
    if not given:
        advice = "add `epochs = 1`, `steps = 500`, or `until = { metric = …, patience = 2, max_epochs = 10 }`"
        yield at_key(path, "FP130", f"{label(path)} has no length", help=advice, part=KeyPart.HEADER)
    elif len(given) > 1:
        message = f"`{given[0]}` and `{given[1]}` both say how long {label(path)} is"
        yield at_key((*path, given[1]), "FP130", message, help="keep one of the two", part=KeyPart.KEY)


def _until(document: Document, path: KeyPath, until: Any) -> Iterator[Diagnostic]:
    if isinstance(until, dict) and until.get("patience") is None and until.get("target") is None:
        message = "`until` has neither `patience` nor `target`: only `max_epochs` would end the phase"
        advice = "add `patience = 2`, or write `epochs` in place of `until`"
        yield at_key(path, "FP130", message, help=advice, part=KeyPart.HEADER)


def _schedules(document: Document, phases: list[KeyPath]) -> Iterator[Diagnostic]:
    base = document.table("schedule")
    yield from _schedule(document, ("schedule",), base, {})
    for path in phases:
        own = document.at((*path, "schedule"))
        if isinstance(own, dict):
            inherited = {} if "name" in own and own["name"] != base.get("name", "linear") else base
            yield from _schedule(document, (*path, "schedule"), own, inherited)


def _schedule(
    document: Document, path: KeyPath, own: dict[str, Any], inherited: dict[str, Any]
) -> Iterator[Diagnostic]:
    name = {**inherited, **own}.get("name", "linear")
    warmup = own.get("warmup")
    if isinstance(warmup, (int, float)) and warmup > 0 and name in ("constant", SLANTED):
        known = {"constant": "has no warm-up", SLANTED: "has its own rise, `cut_frac`"}
        advice = {
            "constant": 'write name = "constant_with_warmup", or warmup = 0',
            SLANTED: "remove `warmup`",
        }
        message = f"the `{name}` schedule {known[name]}"
        yield at_key((*path, "warmup"), "FP126", message, help=advice[name])
    for key in ("cut_frac", "ratio"):
        if own.get(key) is not None and name != SLANTED:
            message = f"`{key}` belongs to the `{SLANTED}` schedule; this one is `{printable(str(name))}`"
            advice = f'write name = "{SLANTED}", or remove the key'
            yield at_key((*path, key), "FP134", message, help=advice, part=KeyPart.KEY)


def _metrics(document: Document, places: list[KeyPath]) -> Iterator[Diagnostic]:
    tasks = {name: task for _, task in document.entries("task") if isinstance(name := task.get("name"), str)}
    for path in [
        *places,
        ("train", "stop_when", "metric"),
        ("train", "keep_best"),
        ("train", "restore_best"),
    ]:
        text = document.at(path)
        name, slash, metric = text.partition("/") if isinstance(text, str) else ("", "", "")
        if not slash:
            continue
        if name not in tasks:
            advice = closest(name, tasks) or f"tasks: {quoted(tasks) or 'none'}"
            yield at_key(path, "FP133", f"there is no task `{printable(name)}`", help=advice)
        elif isinstance(data := tasks[name].get("data"), dict) and data.get("validation") is None:
            message = f"task `{name}` has no validation data: `{printable(text)}` is never measured"
            yield at_key(path, "FP133", message, help="add `validation` to its `data`")
        elif (kind := kind_written(tasks[name])) is not None and metric in _of_others(kind):
            message = f"a {kind.name} task has no metric `{printable(metric)}`"
            known = quoted(f"{name}/{item}" for item in kind.metric_names)
            yield at_key(path, "FP133", message, help=f"metrics: {known}")


def _of_others(kind: TaskKind) -> set[str]:
    """Return the metrics that other kinds have; one that no kind has is reported where it is read."""
    return set(metric_names()) - set(kind.metric_names)


def _stop(document: Document) -> Iterator[Diagnostic]:
    path: KeyPath = ("train", "stop_when", "metric")
    metric = document.at(path)
    if isinstance(metric, str) and falls(metric.rpartition("/")[2]):
        message = "`stop_when` ends the run when the metric is at least a value; a loss falls"
        yield at_key(path, "FP133", message, help=f"use {_rising(document, metric.partition('/')[0])}")


def _rising(document: Document, task: str) -> str:
    """Name the metrics of a task that are better when they are larger."""
    found = next((entry for _, entry in document.entries("task") if entry.get("name") == task), {})
    kind = kind_written(found) or TASK_KINDS[DEFAULT]
    return " or ".join(metric.name for metric in kind.metrics if not metric.falls)
