"""Several runs beside each other: how they scored, what they cost, and what their plans do differently."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezeplan.diagnostics.wording import NOTHING, format_count
from freezeplan.report.course_charts import STEP, metric_points
from freezeplan.report.line_chart import ChartLine, LineChart, line_chart
from freezeplan.report.records import Report, RunReport, Series, TaskCourse
from freezeplan.report.tables import PageTable, written


def beside_view(report: Report) -> dict[str, Any]:
    """Return what the template shows of several runs."""
    return {
        "tables": [_scores(report), _taken(report)],
        "charts": list(_charts(report)),
        "first": report.runs[0].name,
        "differences": report.differences,
    }


def _taken(report: Report) -> PageTable:
    heads = ("run", "status", "parameters trained", "steps", "seconds")
    return PageTable("What the runs took", heads, tuple(map(_row, report.runs)), (2, 3, 4))


def _row(run: RunReport) -> tuple[str, ...]:
    return (
        run.name,
        run.status,
        format_count(run.plan.trainable) if run.plan else NOTHING,
        format_count(run.course.steps) if run.course else NOTHING,
        NOTHING if run.seconds is None else f"{run.seconds:.1f}",
    )


def _scores(report: Report) -> PageTable:
    """Return a row for each metric of each split, a column for each run."""
    found = [{(item.split, item.task, item.metric): item.value for item in run.scores} for run in report.runs]
    keys = list(dict.fromkeys(key for scores in found for key in scores))
    rows = tuple((*key[1:], key[0], *(written(scores.get(key)) for scores in found)) for key in keys)
    heads = ("task", "metric", "data", *(run.name for run in report.runs))
    return PageTable("Final scores", heads, rows, tuple(range(3, len(heads))))


def _charts(report: Report) -> Iterator[LineChart]:
    """Yield a chart for each metric of each task that at least two runs have measured."""
    tasks = list(dict.fromkeys(task.task for run in report.runs for task in _tasks(run)))
    for name in tasks:
        courses = [(run.name, task) for run in report.runs for task in _tasks(run) if task.task == name]
        metrics = list(
            dict.fromkeys(key for _, task in courses for item in task.epochs for key, _ in item.metrics)
        )
        for metric in metrics:
            series = [Series(run, (metric_points(task, metric),)) for run, task in courses]
            lines = [ChartLine(item, marked=True) for item in series if any(item.parts)]
            if len(lines) > 1:
                yield line_chart(f"{name}: validation {metric}", lines, (STEP, metric))


def _tasks(run: RunReport) -> tuple[TaskCourse, ...]:
    return run.course.tasks if run.course else ()
