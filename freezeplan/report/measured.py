"""A comparison and a probe as charts and tables, from the records that they wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from freezeplan.choose.comparison_records import ComparedRow, StrategyComparison, comparison_from_record
from freezeplan.choose.probe_records import ProbeReport, TaskProbe, probe_from_record
from freezeplan.choose.probe_view import ERRORS
from freezeplan.diagnostics.wording import NOTHING, counted, format_bytes, format_count, format_flops
from freezeplan.report.dot_chart import DotChart, Scored, cost_chart
from freezeplan.report.line_chart import ChartLine, LineChart, line_chart
from freezeplan.report.records import Fact, MeasuredReport, Series
from freezeplan.report.tables import PageTable

View = dict[str, Any]


def comparison_view(item: MeasuredReport, id: str) -> View:
    """Return what the template shows of a comparison, finished or not."""
    found = comparison_from_record(item.record)
    return {
        "id": id,
        "found": item,
        "link": f"Comparison {item.name}",
        "facts": list(_facts(found, item.file)),
        "charts": list(_charts(found)),
        "tables": list(_tables(found)),
    }


def _facts(found: StrategyComparison, file: str) -> Iterator[Fact]:
    yield "file", file
    yield "model", found.model
    yield "tasks", ", ".join(f"{task['name']} ({task['metric']})" for task in found.tasks)
    yield "epochs", f"{found.epochs}; compared after {', '.join(map(str, found.rungs))}"
    seconds, size = found.budget.get("seconds"), found.budget.get("bytes")
    limits = [f"{seconds:g} s" if seconds else "", format_bytes(int(size)) if size else ""]
    yield "budget", " and ".join(filter(None, limits)) or "none"


def _charts(found: StrategyComparison) -> Iterator[DotChart]:
    if found.verdict is None:
        return
    rows = found.verdict.rows
    for title, cost, costs in (
        ("Score and predicted work of a whole run", "GFLOP", [row.flops / 1e9 for row in rows]),
        (
            "Score and CPU seconds until it ended or was stopped",
            "CPU seconds",
            [row.cpu_seconds for row in rows],
        ),
    ):
        yield cost_chart(title, _scored(rows, costs, found.verdict.chosen), (cost, "score"))


def _scored(rows: Sequence[ComparedRow], costs: Sequence[float], chosen: str) -> list[Scored]:
    return [
        Scored(row.candidate, row.score, row.error, cost, row.front, row.candidate == chosen)
        for row, cost in zip(rows, costs, strict=True)
    ]


def _tables(found: StrategyComparison) -> Iterator[PageTable]:
    if found.verdict is not None:
        heads = (
            "strategy",
            "score",
            "short of the best",
            "work",
            "CPU s",
            "s",
            "epochs",
            "seeds",
            "peak memory",
        )
        rows = tuple(_compared(number, row, found) for number, row in enumerate(found.verdict.rows, 1))
        marks = tuple("chosen" if row.candidate == found.verdict.chosen else "" for row in found.verdict.rows)
        caption = "± is one standard error; * nothing is both cheaper and better; the work is predicted"
        yield PageTable(caption, (*heads, "trained"), rows, tuple(range(1, 10)), marks)
    trials = tuple(
        (
            trial.candidate,
            str(trial.seed),
            str(trial.epochs),
            f"{trial.score:.3f}",
            f"{trial.cpu_seconds:.1f}",
            trial.run,
        )
        for trial in found.trials
    )
    if trials:
        heads = ("candidate", "seed", "epochs", "score", "CPU s", "run")
        yield PageTable("Trials, in the order in which they were done", heads, trials, (1, 2, 3, 4))
    yield _candidates(found)


def _compared(number: int, row: ComparedRow, found: StrategyComparison) -> tuple[str, ...]:
    return (
        f"{number} {row.candidate}",
        f"{row.score:.3f} ± {row.error:.3f}{' *' if row.front else ''}",
        f"{row.short:.3f} ± {row.short_error:.3f}",
        format_flops(row.flops),
        f"{row.cpu_seconds:.1f}",
        f"{row.seconds:.1f}",
        f"{row.epochs} of {found.epochs}",
        str(row.seeds),
        format_bytes(row.peak_bytes) if row.peak_bytes else NOTHING,
        format_count(row.trained) if row.trained else NOTHING,
    )


def _candidates(found: StrategyComparison) -> PageTable:
    rows = tuple(
        (
            item.name,
            item.words,
            f"{item.seconds:.1f}",
            format_bytes(item.peak_bytes) if item.peak_bytes else NOTHING,
            item.left_out or ("its own error ended it" if item.failed else ""),
        )
        for item in found.candidates
    )
    heads = ("candidate", "what trains", "predicted s", "predicted peak", "left out")
    return PageTable("Candidates, as predicted before they began", heads, rows, (2, 3))


def probe_view(item: MeasuredReport, id: str) -> View:
    """Return what the template shows of a probe."""
    found = probe_from_record(item.record)
    facts = [("file", item.file), ("model", found.model), ("layers", format_count(len(found.layers)))]
    return {
        "id": id,
        "found": item,
        "link": f"Probe {item.name}",
        "facts": facts,
        "tasks": [_probed(task, f"{id}-task{number}", found) for number, task in enumerate(found.tasks, 1)],
    }


def _probed(task: TaskProbe, id: str, found: ProbeReport) -> View:
    rows = " and ".join(f"{format_count(count)} {split}" for split, count in task.rows.items())
    caption = f"{task.metric} on validation data, {rows} rows; {ERRORS.get(task.error, task.error)}"
    return {"id": id, "name": task.task, "chart": _curve(task, found), "table": _depths(task, caption)}


def _curve(task: TaskProbe, found: ProbeReport) -> LineChart:
    points = tuple((item.depth, item.score) for item in task.depths)
    errors = [(float(item.depth), item.score - item.error, item.score + item.error) for item in task.depths]
    levels = [(item.score, item.name) for item in task.baselines]
    title = f"{task.metric} of a linear probe after each of {counted(len(found.layers), 'layer')}"
    line = ChartLine(Series(task.metric, (points,)), marked=True, errors=errors)
    return line_chart(title, [line], ("layer", task.metric), levels=levels)


def _depths(task: TaskProbe, caption: str) -> PageTable:
    rows = [
        (
            str(item.depth),
            item.name,
            f"{item.score:.3f} ± {item.error:.3f}",
            NOTHING if item.gain is None else f"{item.gain:+.3f} ± {item.gain_error or 0.0:.3f}",
            _remark(task, item.depth),
        )
        for item in task.depths
    ]
    rows += [
        (NOTHING, item.name, f"{item.score:.3f} ± {item.error:.3f}", NOTHING, "") for item in task.baselines
    ]
    marks = ["chosen" if item.depth == task.enough else "" for item in task.depths] + [""] * len(
        task.baselines
    )
    heads = ("layers", "features", task.metric, "last one adds", "")
    return PageTable(caption, heads, tuple(rows), (2, 3), tuple(marks))


def _remark(task: TaskProbe, depth: int) -> str:
    said = [(task.enough, "features get no better after it"), (task.best, "the best")]
    return ", ".join(words for place, words in said if place == depth)
