"""Checks of the metrics that a run is steered by: they must be measured, and a score over several must rise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.diagnostics.wording import closest, printable, quoted
from freezeplan.spec.document import Document
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.task_checks import DEFAULT, kind_written
from freezeplan.spec.validators import SCORE, metric_advice
from freezeplan.tasks import TASK_KINDS, TaskKind, falls, metric_names

PLACE: KeyPath = ("train", SCORE)


@dataclass(frozen=True)
class Named:
    """A metric as it is written: where, on a key or a value, and in a score its weight."""

    path: KeyPath
    text: str
    part: KeyPart = KeyPart.VALUE
    weight: float | None = None

    @property
    def shown(self) -> str:
        """The metric for a message."""
        return printable(self.text)

    def report(self, message: str, advice: str) -> Diagnostic:
        """Return a problem of it."""
        return at_key(self.path, "FP133", message, help=advice, part=self.part)


def check_metrics(document: Document, places: list[KeyPath]) -> Iterator[Diagnostic]:
    """Yield every problem of the metrics that phases (at ``places``) and ``[train]`` name, and of ``train.score``."""
    train = [("stop_when", "metric"), ("keep_best",), ("restore_best",)]
    for path in [*places, *(("train", *key) for key in train)]:
        text = document.at(path)
        if isinstance(text, str):
            misnamed = list(_of_until(document, path, text)) if path in places else []
            yield from misnamed or _named(document, path, text)
    yield from _stop(document)
    yield from _score(document)


def _named(document: Document, path: KeyPath, text: str) -> Iterator[Diagnostic]:
    """Yield why a metric, or the score, is not measured; what another trainer reports is not looked into."""
    if text == SCORE and document.at(PLACE) is None:
        message = "there is no score: `[train]` does not say which metrics it is the mean of"
        advice = f'add `score = ["{_example(document)}"]` to `[train]`'
        yield at_key(path, "FP133", message, help=advice)
    elif metric_advice(text) is None:
        yield from _measured(document, Named(path, text))


def _mode(metric: KeyPath) -> KeyPath:
    return (*metric[:-1], "mode")


def _of_until(document: Document, path: KeyPath, text: str) -> Iterator[Diagnostic]:
    """Yield a metric that is no task's and has no ``mode``, and one that is a task's and has one."""
    advice, mode = None if text == SCORE else metric_advice(text), document.at(_mode(path))
    if mode is None and advice is not None:
        message = f"`{printable(text)}` is not a metric of a task"
        other = f'{advice}; of what another trainer reports, say `mode = "max"` or `"min"`'
        yield at_key(path, "FP133", message, help=other)
    elif mode is not None and advice is None:
        message = (
            f"`{printable(text)}` has a better side of its own: `mode` is for what another trainer reports"
        )
        yield at_key(_mode(path), "FP133", message, help="remove the key", part=KeyPart.KEY)
    elif advice is not None and (not text.isprintable() or text != text.strip() or not text):
        message = f"`{printable(text)}` is not a name by which a trainer reports a metric"
        yield at_key(path, "FP133", message, help="write it as it stands in that trainer's log")


def _example(document: Document) -> str:
    names = [str(entry.get("name", "task")) for _, entry in document.entries("task")]
    return f"{printable(names[0]) if names else 'task'}/accuracy"


def _measured(document: Document, named: Named) -> Iterator[Diagnostic]:
    """Yield why a metric is not measured; one that no kind of task has is reported where it is read."""
    tasks = {name: task for _, task in document.entries("task") if isinstance(name := task.get("name"), str)}
    name, slash, metric = named.text.partition("/")
    if not slash:
        return
    if name not in tasks:
        advice = closest(name, tasks) or f"tasks: {quoted(tasks) or 'none'}"
        yield named.report(f"there is no task `{printable(name)}`", advice)
    elif isinstance(data := tasks[name].get("data"), dict) and data.get("validation") is None:
        message = f"task `{name}` has no validation data: `{named.shown}` is never measured"
        yield named.report(message, "add `validation` to its `data`")
    elif (kind := kind_written(tasks[name])) is not None and metric in _of_others(kind):
        known = quoted(f"{name}/{item}" for item in kind.metric_names)
        yield named.report(f"a {kind.name} task has no metric `{printable(metric)}`", f"metrics: {known}")


def _of_others(kind: TaskKind) -> set[str]:
    """Return the metrics that other kinds have."""
    return set(metric_names()) - set(kind.metric_names)


def _stop(document: Document) -> Iterator[Diagnostic]:
    path: KeyPath = ("train", "stop_when", "metric")
    metric = document.at(path)
    if isinstance(metric, str) and falls(metric):
        message = "`stop_when` ends the run when the metric is at least a value; a loss falls"
        yield at_key(path, "FP133", message, help=f"use {_rising(document, metric.partition('/')[0])}")


def _rising(document: Document, task: str) -> str:
    """Name the metrics of a task that are better when they are larger."""
    found = next((entry for _, entry in document.entries("task") if entry.get("name") == task), {})
    kind = kind_written(found) or TASK_KINDS[DEFAULT]
    return " or ".join(metric.name for metric in kind.metrics if not metric.falls)


def _score(document: Document) -> Iterator[Diagnostic]:
    score = document.at(PLACE)
    if score in ([], {}):
        message = "`score` names no metric: there is nothing to take the mean of"
        yield at_key(PLACE, "FP133", message, help=f'write score = ["{_example(document)}"]')
    seen: set[str] = set()
    for named in _parts(document, score):
        advice = metric_advice(named.text)
        if advice is not None:
            yield named.report(f"`{named.shown}` is not a metric of a task", advice)
        elif named.text in seen:
            yield named.report(f"`score` names `{named.shown}` twice", "remove one of the two")
        else:
            yield from _measured(document, named)
            yield from _weight(named)
        seen.add(named.text)


def _parts(document: Document, score: Any) -> Iterator[Named]:
    if isinstance(score, Mapping):
        for text, weight in score.items():
            number = weight if isinstance(weight, (int, float)) and not isinstance(weight, bool) else None
            yield Named((*PLACE, text), text, KeyPart.KEY, number)
        return
    for path, text in document.strings(PLACE):
        yield Named(path, text, weight=1.0)


def _weight(named: Named) -> Iterator[Diagnostic]:
    """Yield what is wrong with a weight: a larger score must be a better one."""
    if named.weight is None:
        return
    if falls(named.text) and named.weight >= 0:
        message = f"`{named.shown}` gets better as it falls, a score as it rises"
        yield named.report(message, f'give it a negative weight: score = {{ "{named.shown}" = -1.0 }}')
    elif named.weight <= 0 and not falls(named.text):
        message = f"`{named.shown}` has the weight {named.weight:g}: the score would not rise with it"
        yield named.report(message, "give it a weight above 0, or leave it out")
