"""Which batches fit into a budget of memory, for people: the same record that the JSON holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from freezeplan.diagnostics.wording import counted, format_bytes, format_count
from freezeplan.render.schedule import Fact
from freezeplan.render.table import facts_grid
from freezeplan.render.visible import visible

if TYPE_CHECKING:
    from freezeplan.cost.records import Fitting, FittingBatch


MOST = 1 << 40


class FittingView:
    """Render the largest batch of every phase that fits, its predicted peak, and that of one row more."""

    def __init__(self, fitting: Fitting) -> None:
        self.fitting = fitting

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        fitting = self.fitting
        yield Text("")
        title = f"batches that fit into {_bytes(fitting.budget)}, {fitting.inputs}{fitting.company}"
        yield Text(title, style="bold", overflow="fold")
        yield facts_grid(_facts(fitting))
        for text in (_margin(fitting), *fitting.assumptions):
            yield Text(visible(f"note: {text}"), overflow="fold")


def _facts(fitting: Fitting) -> Iterator[Fact]:
    for item in fitting.phases:
        yield visible(item.phase, keep=""), _phase(item)
    if len(fitting.phases) > 1 and fitting.rows is not None:
        yield "all phases", f"batch_size = {fitting.rows}"


def _phase(item: FittingBatch) -> str:
    if item.rows is None:
        return f"no task learns: {_bytes(item.peak)} in an evaluation"
    peak = f"batches of {format_count(item.rows)}: peak {_bytes(item.peak)}"
    if item.enough:
        return f"{peak}; more were not asked about"
    return f"{peak}; {counted(item.rows + 1, 'row')} would take {_bytes(item.beyond)}"


def _bytes(number: int) -> str:
    """Write bytes so that one row makes a difference, as far as memory goes today."""
    return f"{number / (1 << 20):,.1f} MiB" if number < MOST else format_bytes(number)


def _margin(fitting: Fitting) -> str:
    return (
        "the allocator's margin is not in these bytes: ask for less than there is; a process took "
        f"{fitting.allocator_margin} to {fitting.largest_margin} times as much, measured with glibc"
    )
