"""The page: charts and tables of everything in a report, filled into one file of HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

from freezeplan.diagnostics.wording import some
from freezeplan.render.filling import fill_template
from freezeplan.render.visible import visible
from freezeplan.report.beside import beside_view
from freezeplan.report.costs import cost_notes, cost_table
from freezeplan.report.course import spans
from freezeplan.report.course_charts import rate_chart, score_chart, task_charts
from freezeplan.report.grid_chart import grid_chart
from freezeplan.report.measured import comparison_view, probe_view
from freezeplan.report.records import ClassScores, Report, RunReport
from freezeplan.report.tables import (
    MOST_CLASSES,
    cell_table,
    class_table,
    confusion_table,
    course_table,
    drift_table,
    pair_table,
    phase_table,
    proof_table,
    rate_table,
    score_table,
)

QUOTED = re.compile("`([^`]*)`")
SHOWN_NAMES = 10
View = dict[str, Any]


def report_html(report: Report, version: str) -> str:
    """Return a report as one page that needs nothing else: no script, no network, no file.

    ``version`` is that of this package. Texts of specs and data stand in it as they are; what would move or hide text
    is shown as a sign.
    """
    runs = [run_view(run, f"run{number}") for number, run in enumerate(report.runs, 1)]
    comparisons = [
        comparison_view(item, f"comparison{number}") for number, item in enumerate(report.comparisons, 1)
    ]
    probes = [probe_view(item, f"probe{number}") for number, item in enumerate(report.probes, 1)]
    return fill_template(
        "report.html.j2",
        {"prose": _prose, "named": _named},
        files("freezeplan.report") / "templates",
        version=version,
        title=_title(report),
        links=list(_links(report, [*runs, *comparisons, *probes])),
        beside=beside_view(report) if len(report.runs) > 1 else None,
        runs=runs,
        comparisons=comparisons,
        probes=probes,
    )


def _title(report: Report) -> str:
    names = [item.name for item in (*report.runs, *report.comparisons, *report.probes)]
    more = len(names) - 3
    return f"Report: {', '.join(names[:3])}{f' and {more} more' if more > 0 else ''}"


def _links(report: Report, views: Sequence[View]) -> Iterator[tuple[str, str]]:
    if len(report.runs) > 1:
        yield "beside", "Side by side"
    for view in views:
        yield view["id"], view["link"]
        yield from view.get("links", ()) if len(views) == 1 else ()


def run_view(run: RunReport, id: str) -> View:
    """Return what the template shows of a run; ``id`` begins the names of all its places."""
    course = run.course
    over = spans(course.boundaries, course.steps, _current(run)) if course else []
    tasks = [
        {
            "id": f"{id}-task{number}",
            "name": task.task,
            "charts": task_charts(task, over) if course and course.steps else [],
            "table": course_table(task),
        }
        for number, task in enumerate(course.tasks if course else (), 1)
    ]
    view: View = {
        "id": id,
        "run": run,
        "link": f"Run {run.name}",
        "facts": [("folder", run.folder), *([("model", run.model)] if run.model else []), *run.facts],
        "scores": score_table(run.scores, finished=run.status == "finished"),
        "grid": grid_chart(run.plan.rows, [phase.name for phase in run.phases]) if _has_grid(run) else None,
        "cells": cell_table(run),
        "phases": phase_table(run.phases, run.plan.parameters if run.plan else 0),
        "rates": rate_chart(course, over) if course and course.rates else None,
        "rate_table": rate_table(run),
        "score": score_chart(course, over) if course and course.score else None,
        "score_note": _score_note(run),
        "tasks": tasks,
        "classes": [_class_view(item, f"{id}-class{number}") for number, item in enumerate(run.classes, 1)],
        "proofs": proof_table(run.phases),
        "drift": drift_table(run),
        "costs": cost_table(run),
        "cost_notes": list(cost_notes(run)),
    }
    return view | {"links": list(_section_links(view))}


def _has_grid(run: RunReport) -> bool:
    return run.plan is not None and all(len(row.cells) == len(run.phases) for row in run.plan.rows)


def _current(run: RunReport) -> str:
    begun = [phase.name for phase in run.phases if phase.started is not None]
    return begun[-1] if begun else ""


def _score_note(run: RunReport) -> str:
    found = dict(run.plan.facts).get("score") if run.plan else None
    return f"The score is the {found}." if found else "The one score over all tasks."


def _section_links(view: View) -> Iterator[tuple[str, str]]:
    sections = {
        "scores": ("Scores", view["scores"].rows),
        "plan": ("Plan", view["grid"]),
        "rates": ("Learning rates", view["rates"]),
        "course": ("Losses and metrics", view["tasks"]),
        "classes": ("Class by class", view["classes"]),
        "evidence": ("Evidence", view["run"].proof),
        "costs": ("Costs", view["costs"].rows),
        "environment": ("Environment", True),
    }
    for name, (words, there) in sections.items():
        if there:
            yield f"{view['id']}-{name}", words


def _class_view(item: ClassScores, id: str) -> View:
    classes = sum(not row.is_mean for row in item.rows)
    return {
        "id": id,
        "task": item.task,
        "split": item.split,
        "table": class_table(item),
        "folded": f"All {classes}" if classes > MOST_CLASSES else "",
        "confusion": confusion_table(item),
        "pairs": pair_table(item),
    }


def _prose(text: str) -> Markup:
    """Return a sentence whose names stand between backticks with these as code.

    >>> _prose("`a<b` moved")
    Markup('<code>a&lt;b</code> moved')
    """
    parts = QUOTED.split(visible(text, keep=""))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def _named(names: Sequence[str]) -> Markup:
    return _prose(some(names, SHOWN_NAMES))
