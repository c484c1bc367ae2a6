"""Checks of phases, gradual unfreezing, schedules and metrics, between keys and between tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import closest, quoted
from freezeplan.spec.checks import repeated_names
from freezeplan.spec.document import Document, printable
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.problems import label

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
        yield document.problem_at_header("FP131", message, ("gradual",), "keep one of the two")
    if (has_phases or has_gradual) and document.table("train").get("epochs") is not None:
        message = "`train.epochs` has no effect: the phases say how long the run is"
        yield document.problem_at_key("FP132", message, ("train", "epochs"), "remove the key")


def _length(document: Document, path: KeyPath, phase: dict[str, Any]) -> Iterator[Diagnostic]:
    given = [key for key in phase if key in LENGTHS and phase[key] is not None]
    if not given:
        advice = "add `epochs = 1`, `steps = 500`, or `until = { metric = …, patience = 2, max_epochs = 10 }`"
        yield document.problem_at_header("FP130", f"{label(path)} has no length", path, advice)
    elif len(given) > 1:
        message = f"`{given[0]}` and `{given[1]}` both say how long {label(path)} is"
        yield document.problem_at_key("FP130", message, (*path, given[1]), "keep one of the two")


def _until(document: Document, path: KeyPath, until: Any) -> Iterator[Diagnostic]:
    if isinstance(until, dict) and until.get("patience") is None and until.get("target") is None:
        message = "`until` has neither `patience` nor `target`: only `max_epochs` would end the phase"
        advice = "add `patience = 2`, or write `epochs` in place of `until`"
        yield document.problem_at_header("FP130", message, path, advice)


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
        yield document.problem_at_value("FP126", message, (*path, "warmup"), advice[name])
    for key in ("cut_frac", "ratio"):
        if own.get(key) is not None and name != SLANTED:
            message = f"`{key}` belongs to the `{SLANTED}` schedule; this one is `{printable(str(name))}`"
            advice = f'write name = "{SLANTED}", or remove the key'
            yield document.problem_at_key("FP134", message, (*path, key), advice)


def _metrics(document: Document, places: list[KeyPath]) -> Iterator[Diagnostic]:
    tasks = {name: task for _, task in document.entries("task") if isinstance(name := task.get("name"), str)}
    for path in [*places, ("train", "stop_when", "metric"), ("train", "keep_best")]:
        text = document.at(path)
        name, slash, _ = text.partition("/") if isinstance(text, str) else ("", "", "")
        if not slash:
            continue
        if name not in tasks:
            advice = closest(name, tasks) or f"tasks: {quoted(tasks) or 'none'}"
            yield document.problem_at_value("FP133", f"there is no task `{printable(name)}`", path, advice)
        elif isinstance(data := tasks[name].get("data"), dict) and data.get("validation") is None:
            message = f"task `{name}` has no validation data: `{printable(text)}` is never measured"
            yield document.problem_at_value("FP133", message, path, "add `validation` to its `data`")


def _stop(document: Document) -> Iterator[Diagnostic]:
    path: KeyPath = ("train", "stop_when", "metric")
    metric = document.at(path)
    if isinstance(metric, str) and metric.endswith("/loss"):
        message = "`stop_when` ends the run when the metric is at least a value; a loss falls"
        yield document.problem_at_value("FP133", message, path, "use accuracy or macro_f1")
