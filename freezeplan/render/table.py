"""The plan as a table for people, with its summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from freezeplan.diagnostics.wording import NOTHING, counted, format_count, format_number, format_rate
from freezeplan.plan.records import Plan
from freezeplan.render.rows import Row, plan_rows
from freezeplan.render.schedule import Fact
from freezeplan.render.summary import summary_facts
from freezeplan.render.visible import visible
from freezeplan.render.written import format_options, short_rate

HEADS = ("group", "selected by", "state", "LR", "weight decay", "options", "tensors", "parameters")
NUMBERS = frozenset({"LR", "weight decay", "tensors", "parameters"})
STATE_STYLES = {"trainable": "green", "frozen": "blue"}
# What a column may shrink to, in cells: its text then takes several lines. The others never shrink.
LEAST = {"weight decay": len("weight"), "selected by": 24, "options": 24}
GAP = 2
ASCII_RULE = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
RULE = box.Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
Cells = Mapping[str, str]


class PlanView:
    """Render a plan: the table and the summary of each phase (or of one), then ``notes`` about its model.

    A console that is too narrow for the table gets the same rows stacked, two lines per group; names are
    never cut. ``execution`` says of each phase how its frozen prefix will run, where the bundled trainer is to
    train, and ``training`` is the record of its tasks and steps. ``folded = False`` gives each group a line, and
    its rate in full.
    """

    def __init__(
        self,
        plan: Plan,
        notes: Iterable[str] = (),
        phase: int | None = None,
        execution: Sequence[str] | None = None,
        *,
        training: Mapping[str, Any] | None = None,
        folded: bool = True,
    ) -> None:
        self.plan = plan
        self.execution = execution
        self.training = training
        self.folded = folded
        self.notes = tuple(notes)
        self.shown = range(len(plan.phases)) if phase is None else (phase,)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for index in self.shown:
            phase = self.plan.phases[index]
            if index != self.shown[0]:
                yield Text("")
            if len(self.plan.phases) > 1:
                yield Text(visible(f"phase {index + 1}: {phase.name}"), style="bold", overflow="fold")
            rows = plan_rows(self.plan, index, folded=self.folded)
            yield from _rows(tuple(cells_of(row, exact=not self.folded) for row in rows), options)
            yield Text("")
            hidden = len(self.plan.groups) if len(rows) < len(self.plan.groups) + len(self.plan.frozen) else 0
            yield facts_grid(
                summary_facts(self.plan, index, self.execution, training=self.training, folded=bool(hidden))
            )
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


def column_widths(rows: Sequence[Cells], room: int) -> dict[str, int] | None:
    """Return the width of each column so that the table takes at most ``room`` cells.

    The columns of ``LEAST`` give way in that order; then the state goes, whose word stands in the column of
    rates instead; None says that the rest does not fit.
    """
    heads = [head for head in HEADS if head != "options" or any(cells["options"] for cells in rows)]
    widths = {head: max([cell_len(head), *(cell_len(cells[head]) for cells in rows)]) for head in heads}
    if _shrunk(widths, rows, LEAST, room):
        return widths
    del widths["state"]
    widths["LR"] = max(widths["LR"], len("frozen"))
    words = {head: _longest_word(head, rows) for head in ("selected by", "options")}
    return widths if _shrunk(widths, rows, words, room) else None


def _longest_word(head: str, rows: Sequence[Cells]) -> int:
    words = (word for cells in rows for word in cells[head].split())
    return min(LEAST[head], max(map(cell_len, words), default=0))


def _shrunk(widths: dict[str, int], rows: Sequence[Cells], most: Mapping[str, int], room: int) -> bool:
    """Take from the widths what they can give; returns whether the table fits now."""
    excess = sum(widths.values()) + GAP * (len(widths) - 1) - room
    for head, least in most.items():
        if head in widths and excess > 0:
            content = max((cell_len(cells[head]) for cells in rows), default=0) if head in NUMBERS else 0
            spare = min(excess, max(0, widths[head] - max(least, content)))
            widths[head], excess = widths[head] - spare, excess - spare
    return excess <= 0


def _rows(rows: Sequence[Cells], options: ConsoleOptions) -> RenderResult:
    widths = column_widths(rows, options.max_width)
    if widths is None:
        yield from _stacked(rows)
    else:
        yield _table(rows, widths, ascii_only=options.ascii_only)


def _table(rows: Sequence[Cells], widths: dict[str, int], *, ascii_only: bool) -> Table:
    rule = ASCII_RULE if ascii_only else RULE
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    for head, width in widths.items():
        justify = "right" if head in NUMBERS else "left"
        table.add_column(Text(head), justify=justify, width=width, overflow="fold", vertical="top")
    for cells in rows:
        shown = cells if "state" in widths or cells["LR"] != NOTHING else {**cells, "LR": cells["state"]}
        table.add_row(*(_styled(head, shown) for head in widths))
    return table


def cells_of(row: Row, *, exact: bool = False) -> Cells:
    """Return what stands in each column of a row; rates are rounded unless they are to be ``exact``."""
    rate = format_rate if exact else short_rate
    return {
        "group": visible(row.group, keep=""),
        "selected by": visible(row.selected_by, keep=""),
        "state": row.state,
        "LR": " to ".join(map(rate, row.lr)) or NOTHING,
        "weight decay": " / ".join(map(format_number, row.weight_decay)) or NOTHING,
        "options": format_options(row.options),
        "tensors": format_count(row.tensors),
        "parameters": format_count(row.parameters),
        "size": f"{counted(row.parameters, 'parameter')} in {counted(row.tensors, 'tensor')}",
    }


def _styled(head: str, cells: Cells) -> Text:
    trains = cells["state"] == "trainable"
    style = {"state": STATE_STYLES[cells["state"]], "group": "bold" if trains else "", "selected by": "cyan"}
    if cells[head] == "frozen":
        return Text(cells[head], style=STATE_STYLES["frozen"])
    return Text(cells[head], style=style.get(head, "" if trains else "dim"))


def _stacked(rows: Sequence[Cells]) -> RenderResult:
    for cells in rows:
        name = _styled("group", cells)
        yield Text.assemble(name, " " * GAP, _styled("state", cells), overflow="fold")
        yield Padding(Text(", ".join(_details(cells)), overflow="fold"), (0, 0, 0, GAP), expand=False)


def _details(cells: Cells) -> Iterable[str]:
    if cells["state"] == "trainable":
        yield f"LR {cells['LR']}"
        yield f"weight decay {cells['weight decay']}"
    if cells["options"]:
        yield cells["options"]
    yield cells["size"]
    if cells["selected by"] != cells["group"]:
        yield f"by {cells['selected by']}"
