"""A comparison as a table, and its verdict in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from freezeplan.choose.comparison_records import ChosenStrategy, ComparedRow, StrategyComparison
from freezeplan.choose.probe_view import ASCII_RULE, RULE
from freezeplan.diagnostics.wording import NOTHING, counted, format_bytes, format_count
from freezeplan.render.visible import visible


class ComparisonView:
    """Render a comparison: a row per candidate that was tried, those that were not, and which to choose."""

    def __init__(self, found: StrategyComparison) -> None:
        self.found = found

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        verdict = self.found.verdict
        if verdict is None:
            yield Text("the comparison is not finished")
            return
        yield Text(visible(_title(self.found), keep=""), style="bold", overflow="fold")
        yield _table(verdict, self.found, narrow=options.max_width < 76, ascii_only=options.ascii_only)
        yield Text("")
        for line in verdict_lines(self.found):
            yield Text(visible(line, keep=""), overflow="fold")


def _title(found: StrategyComparison) -> str:
    metrics = list(dict.fromkeys(_signed(task) for task in found.tasks))
    alike = len({abs(weight) for weight in found.weights.values()}) == 1
    mean = ("mean of " if alike else "weighted mean of ") if len(found.tasks) > 1 else ""
    whole = counted(found.epochs, "epoch")
    short = found.last_rung < found.epochs
    length = f"trials of {found.last_rung} of {whole}" if short else whole
    return f"{mean}{' and '.join(metrics)} on validation data, {length}"


def _signed(task: Mapping[str, Any]) -> str:
    """Return the name of a task's metric; one that counts with its negative says so."""
    return f"negative {task['metric']}" if task.get("weight", 1.0) < 0.0 else str(task["metric"])


def _table(verdict: ChosenStrategy, found: StrategyComparison, *, narrow: bool, ascii_only: bool) -> Table:
    rule = ASCII_RULE if ascii_only else RULE
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("strategy", no_wrap=True)
    heads = ["score", "CPU s", "peak memory", "trained", "epochs"]
    for head in heads[:2] if narrow else heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in verdict.rows:
        style = "bold green" if row.candidate == verdict.chosen else "" if row.finished else "dim"
        cells = _cells(row, found)
        table.add_row(*(Text(cell, style=style) for cell in (cells[:3] if narrow else cells)))
    return table


def _cells(row: ComparedRow, found: StrategyComparison) -> list[str]:
    seeds = f" ({row.seeds} seeds)" if row.seeds > 1 else ""
    front = " *" if row.front else "  "
    return [
        f"{row.candidate}{seeds}",
        f"{row.score:.3f} ± {row.error:.3f}{front}",
        f"{row.cpu_seconds:.1f}",
        format_bytes(row.peak_bytes) if row.peak_bytes else NOTHING,
        format_count(row.trained) if row.trained else NOTHING,
        f"{row.epochs} of {found.epochs}" if row.trained else NOTHING,
    ]


def predicted_line(found: StrategyComparison) -> str:
    """Return what all candidates would take to their ends, as predicted before the first trial."""
    kept = [item for item in found.candidates if not item.left_out]
    seconds = sum(item.seconds for item in kept)
    peak = max((item.peak_bytes for item in kept), default=0)
    share = found.last_rung / found.epochs
    each = f" in trials of {counted(found.last_rung, 'epoch')}" if share < 1.0 else ""
    memory = f", up to {format_bytes(peak)} for a training step" if peak else ""
    return (
        f"{counted(len(kept), 'candidate')} of {counted(found.epochs, 'epoch')}: about {seconds * share:.0f} s of "
        f"computing{each} if all are tried to the end{memory} (predicted)"
    )


def verdict_lines(found: StrategyComparison) -> Iterator[str]:
    """Yield what a comparison says, in words."""
    verdict = found.verdict
    assert verdict is not None
    rows = {row.candidate: row for row in verdict.rows}
    best, chosen = rows[verdict.best], rows[verdict.chosen]
    yield f"best: {best.candidate}, {best.score:.3f} ± {best.error:.3f}"
    if verdict.alike:
        yield f"not to be told apart from it by two standard errors: {', '.join(verdict.alike)}"
    if chosen is best:
        yield f"choose {chosen.candidate}: nothing cheaper is within one standard error of it"
    else:
        share = f", {chosen.flops / best.flops:.0%} of its work" if best.flops else ""
        yield (
            f"choose {chosen.candidate}: the cheapest within one standard error of the best "
            f"({chosen.short:.3f} ± {chosen.short_error:.3f} short of it{share})"
        )
    stopped = [row.candidate for row in verdict.rows if not row.finished]
    if stopped:
        yield f"stopped early: {', '.join(stopped)}"
    for item in found.candidates:
        if item.left_out:
            yield f"{'not tried' if item.untried else 'left out'}: {item.name}, {item.left_out}"
    yield "* nothing is both cheaper and better; peak memory is that of this process meanwhile, measured"
