"""The charts of a run over its steps: rates, losses, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

from freezeplan.report.line_chart import ChartLine, LineChart, Span, line_chart
from freezeplan.report.records import Point, RunCourse, Series, TaskCourse

LEAST_SHARE = 0.1
"""The least that an axis of metrics between -1 and 1 spans: small differences are drawn small."""
STEP = "step"
LOSS = "loss"
LOG_FROM = 20.0
"""Values that are so many times as high as the lowest stand on a logarithmic scale."""


def rate_chart(course: RunCourse, spans: Sequence[Span]) -> LineChart:
    """Return the rates of all groups over the steps, on a logarithmic scale where their highest differ much."""
    lines = [ChartLine(series) for series in course.rates]
    tops = [max(value for part in series.parts for _, value in part) for series in course.rates]
    log = max(tops) > LOG_FROM * min(tops) > 0
    return line_chart("Learning rate of each group", lines, (STEP, "learning rate"), spans=spans, log=log)


def score_chart(course: RunCourse, spans: Sequence[Span]) -> LineChart:
    """Return the one score over all tasks, epoch by epoch."""
    line = ChartLine(Series("score", (course.score,)), marked=True)
    return line_chart("Score over all tasks", [line], (STEP, "score"), spans=spans)


def task_charts(task: TaskCourse, spans: Sequence[Span]) -> list[LineChart]:
    """Return a chart of a task's losses, one of its metrics between -1 and 1, and one of each other metric."""
    return [*_losses(task, spans), *_metrics(task, spans)]


def _losses(task: TaskCourse, spans: Sequence[Span]) -> Iterator[LineChart]:
    mean = f", mean of {task.every} steps each" if task.every > 1 else ""
    lines = [
        ChartLine(Series(f"training{mean}", (task.losses,)), faint=True),
        ChartLine(Series("training, mean of the epoch", (_epoch_losses(task),)), marked=True),
        ChartLine(Series("validation", (metric_points(task, LOSS),)), marked=True),
    ]
    kept = [line for line in lines if any(line.series.parts)]
    if kept:
        values = [
            value for line in kept for _, value in line.series.parts[0] if isfinite(value) and value > 0
        ]
        log = bool(values) and max(values) > LOG_FROM * min(values)
        yield line_chart("Loss", kept, (STEP, LOSS), spans=spans, log=log)


def _epoch_losses(task: TaskCourse) -> tuple[Point, ...]:
    return tuple((item.step, item.loss) for item in task.epochs if item.loss is not None)


def _metrics(task: TaskCourse, spans: Sequence[Span]) -> Iterator[LineChart]:
    names = list(dict.fromkeys(name for item in task.epochs for name, _ in item.metrics if name != LOSS))
    series = {name: metric_points(task, name) for name in names}
    shares = [
        name for name in names if all(-1 <= value <= 1 or not isfinite(value) for _, value in series[name])
    ]
    if shares:
        lines = [ChartLine(Series(name, (series[name],)), marked=True) for name in shares]
        yield line_chart("Validation metrics", lines, (STEP, "metric"), spans=spans, least=LEAST_SHARE)
    for name in names:
        if name not in shares:
            line = ChartLine(Series(name, (series[name],)), marked=True)
            yield line_chart(f"Validation {name}", [line], (STEP, name), spans=spans)


def metric_points(task: TaskCourse, name: str) -> tuple[Point, ...]:
    """Return a metric's values over the steps."""
    return tuple((item.step, dict(item.metrics)[name]) for item in task.epochs if name in dict(item.metrics))
