"""The plan as a table for people, with its summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from freezeplan.diagnostics.wording import NOTHING, counted, format_count, format_number, format_rate
from freezeplan.plan.records import Plan
from freezeplan.render.rows import Row, plan_rows
from freezeplan.render.summary import Fact, format_options, summary_facts
from freezeplan.render.visible import visible

HEADS = ("group", "selected by", "state", "LR", "weight decay", "options", "tensors", "parameters")
NUMBERS = frozenset({"LR", "weight decay", "tensors", "parameters"})
STATE_STYLES = {"trainable": "green", "frozen": "blue"}
# What a column may shrink to, in cells: its text then takes several lines. The others never shrink.
LEAST = {"weight decay": len("weight"), "selected by": 24, "options": 24}
GAP = 2
STACKED_LABEL = 14
ASCII_RULE = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
RULE = box.Box("    \n    \n ── \n    \n    \n    \n    \n    \n")


class PlanView:
    """Render a plan: the table and the summary of each phase (or of one), then ``notes`` about its model.

    A console that is too narrow for the table gets the same rows stacked, one block per group;
    names are never cut. ``store`` is the spec's ``train.store``, where the bundled trainer is to train.
    """

    def __init__(
        self, plan: Plan, notes: Iterable[str] = (), phase: int | None = None, store: str | None = None
    ) -> None:
        self.plan = plan
        self.store = store
        self.notes = tuple(notes)
        self.shown = range(len(plan.phases)) if phase is None else (phase,)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for index in self.shown:
            phase = self.plan.phases[index]
            if index != self.shown[0]:
                yield Text("")
            if len(self.plan.phases) > 1:
                yield Text(visible(f"phase {index + 1}: {phase.name}"), style="bold", overflow="fold")
            yield from _rows(plan_rows(self.plan, index), options)
            yield Text("")
            yield facts_grid(summary_facts(self.plan, index, self.store))
        for note in self.notes:
            yield Text(visible(f"note: {note}"), overflow="fold")


def facts_grid(facts: Iterable[Fact], *, indent: int = 0, label_width: int = 0) -> Table:
    """Return labelled lines as a grid; the texts fold, the labels do not."""
    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True, style="dim", min_width=label_width)
    grid.add_column(overflow="fold")
    for label, text in facts:
        grid.add_row(Text(" " * indent + label), Text(visible(text)))
    return grid


def column_widths(rows: Sequence[Row], room: int) -> dict[str, int] | None:
    """Return the width of each column so that the table takes at most ``room`` cells.

    Columns listed in ``LEAST`` give way, in that order; None says that the rest does not fit.
    """
    widths = _natural_widths(rows)
    excess = sum(widths.values()) + GAP * (len(widths) - 1) - room
    for head, least in LEAST.items():
        if head in widths and excess > 0:
            content = max((cell_len(_cells(row)[head]) for row in rows), default=0) if head in NUMBERS else 0
            spare = min(excess, max(0, widths[head] - max(least, content)))
            widths[head], excess = widths[head] - spare, excess - spare
    return widths if excess <= 0 else None


def _natural_widths(rows: Sequence[Row]) -> dict[str, int]:
    cells = [_cells(row) for row in rows]
    heads = [head for head in HEADS if head != "options" or any(row.options for row in rows)]
    return {head: max([cell_len(head), *(cell_len(row[head]) for row in cells)]) for head in heads}


def _rows(rows: Sequence[Row], options: ConsoleOptions) -> RenderResult:
    widths = column_widths(rows, options.max_width)
    if widths is None:
        yield from _stacked(rows)
    else:
        yield _table(rows, widths, ascii_only=options.ascii_only)


def _table(rows: Sequence[Row], widths: dict[str, int], *, ascii_only: bool) -> Table:
    rule = ASCII_RULE if ascii_only else RULE
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    for head, width in widths.items():
        justify = "right" if head in NUMBERS else "left"
        table.add_column(Text(head), justify=justify, width=width, overflow="fold", vertical="top")
    for row in rows:
        cells = _cells(row)
        table.add_row(*(_styled(head, cells[head], row) for head in widths))
    return table


def _cells(row: Row) -> dict[str, str]:
    decay = NOTHING if row.weight_decay is None else format_number(row.weight_decay)
    return {
        "group": visible(row.group, keep=""),
        "selected by": visible(row.selected_by, keep=""),
        "state": row.state,
        "LR": format_rate(row.lr),
        "weight decay": decay,
        "options": format_options(row.options),
        "tensors": format_count(row.tensors),
        "parameters": format_count(row.parameters),
    }


def _styled(head: str, cell: str, row: Row) -> Text:
    plain, strong = ("", "bold") if row.trainable else ("dim", "")
    style = {"state": STATE_STYLES[row.state], "group": strong, "selected by": "cyan"}
    return Text(cell, style=style.get(head, plain))


def _stacked(rows: Sequence[Row]) -> RenderResult:
    for index, row in enumerate(rows):
        if index:
            yield Text("")
        cells = _cells(row)
        name = _styled("group", cells["group"], row)
        yield Text.assemble(name, " " * GAP, _styled("state", row.state, row), overflow="fold")
        yield facts_grid(_stacked_facts(cells, row), indent=GAP, label_width=STACKED_LABEL)


def _stacked_facts(cells: dict[str, str], row: Row) -> Iterable[Fact]:
    if cells["selected by"] != cells["group"]:
        yield "selected by", cells["selected by"]
    if row.trainable:
        yield "LR", cells["LR"]
        yield "weight decay", cells["weight decay"]
    if row.options:
        yield "options", cells["options"]
    yield "size", f"{counted(row.parameters, 'parameter')} in {counted(row.tensors, 'tensor')}"
