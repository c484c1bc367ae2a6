"""A probe as a table and a curve per task, and what it says of where to cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from freezeplan.choose.probe_records import Depth, ProbeReport, TaskProbe
from freezeplan.diagnostics.wording import NOTHING, counted, format_bytes, format_count
from freezeplan.render.visible import visible

BAR, EIGHTHS = 16, " ▏▎▍▌▋▊▉"
RULE = box.Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
ASCII_RULE = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
ERRORS = {
    "binomial": "binomial standard errors",
    "bootstrap": "standard errors by the bootstrap over validation rows",
}


class ProbeView:
    """Render a probe: of each task a row per depth, what needs no network beside it, and where to cut."""

    def __init__(self, report: ProbeReport) -> None:
        self.report = report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for task in self.report.tasks:
            yield Text(visible(f"task {task.task}: {_what(task)}", keep=""), style="bold", overflow="fold")
            yield _table(task, bars=options.max_width >= 60, ascii_only=options.ascii_only)
            for line in verdict(task, len(self.report.layers)):
                yield Text(visible(line, keep=""), overflow="fold")
            yield Text("")
        for item in self.report.left_out:
            yield Text(visible(f"task {item.task} is left out: {item.reason}", keep=""), overflow="fold")
        yield Text(cost_line(self.report), overflow="fold", style="dim")


def _what(task: TaskProbe) -> str:
    rows = " and ".join(f"{format_count(count)} {split}" for split, count in task.rows.items())
    return f"{task.metric} on validation data, {rows} rows; {ERRORS[task.error]}"


def _table(task: TaskProbe, *, bars: bool, ascii_only: bool) -> Table:
    rule = ASCII_RULE if ascii_only else RULE
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("layers", justify="right", no_wrap=True, min_width=len("layers"))
    table.add_column(task.metric, justify="right", no_wrap=True)
    table.add_column("last one adds", justify="right", no_wrap=True)
    if bars:
        table.add_column("", min_width=BAR)
    lines = bar_lines([item.score for item in task.depths], ascii_only=ascii_only)
    for item, line in zip(task.depths, lines, strict=True):
        style = "bold green" if item.depth == task.enough else ""
        mark = " *" if item.depth == task.best else "  "
        cells = [str(item.depth), f"{_with_error(item.score, item.error)}{mark}", _gain(item)]
        table.add_row(*(Text(cell, style=style) for cell in cells), *([Text(line, style=style)] * bars))
    for baseline in task.baselines:
        score = f"{_with_error(baseline.score, baseline.error)}  "
        table.add_row(NOTHING, score, NOTHING, *([Text(baseline.name, style="dim")] * bars))
    return table


def _gain(item: Depth) -> str:
    return NOTHING if item.gain is None else f"{item.gain:+.3f} ± {item.gain_error:.3f}"


def _with_error(score: float, error: float) -> str:
    return f"{score:.3f} ± {error:.3f}"


def bar_lines(scores: Sequence[float], *, ascii_only: bool = False) -> list[str]:
    """Return a bar per score; the lowest of them has the shortest, the highest the longest.

    >>> bar_lines([0.5, 0.75, 1.0], ascii_only=True)
    ['#', '########', '################']
    """
    low, high = min(scores), max(scores)
    shares = [(score - low) / (high - low) if high > low else 1.0 for score in scores]
    lengths = [max(8, round(share * BAR * 8)) for share in shares]
    if ascii_only:
        return ["#" * (length // 8) for length in lengths]
    return ["█" * (length // 8) + EIGHTHS[length % 8].strip() for length in lengths]


def verdict(task: TaskProbe, layers: int) -> Iterator[str]:
    """Yield what a probe says of a task, in words."""
    enough, last = task.at(task.enough), task.depths[-1]
    where = (
        f"after {counted(enough.depth, 'layer')} of {layers}" if enough.depth else "before the first layer"
    )
    if enough.depth == last.depth:
        yield f"features get better up to the last layer, {_with_error(last.score, last.error)}"
    else:
        yield (
            f"features stop getting better {where}: {_with_error(enough.score, enough.error)}, "
            f"{enough.short:.3f} ± {enough.short_error:.3f} "
            f"short of the best (*)"
        )
    if last.short > 2 * last.short_error:
        yield f"the last layer's are worse than the best by {last.short:.3f} ± {last.short_error:.3f}"
    if task.baselines:
        beside = max(task.baselines, key=lambda item: item.score)
        yield f"without a network: {_with_error(beside.score, beside.error)} ({beside.name})"


def cost_line(report: ProbeReport) -> str:
    """Return what a probe cost, in a line."""
    cost = report.cost
    return (
        f"{counted(cost.inputs, 'distinct input')} ran once, {cost.extraction_cpu_seconds:.1f} s of CPU; "
        f"fits {cost.fitting_cpu_seconds:.1f} s; features {format_bytes(cost.bytes)}"
    )
