"""Every parameter of a plan on a line of its own."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from freezeplan.diagnostics.wording import NOTHING, format_number, format_rate, format_shape
from freezeplan.plan.records import Assignment, Plan, PlannedParam
from freezeplan.render.table import GAP, STATE_STYLES
from freezeplan.render.visible import visible

HEADS = ("parameter", "shape", "state", "LR", "weight decay", "rule")
RIGHT = frozenset({"shape", "LR", "weight decay"})


class ParamsView:
    """Render one line per tensor in registration order: what it is, what it gets, which rule said so.

    A tied tensor has one line; its other names follow as ``= name``. Consoles too narrow for the
    columns get two lines per tensor instead, the name alone on the first.
    """

    def __init__(self, plan: Plan, phase: int = 0) -> None:
        self.plan = plan
        self.phase = phase

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pairs = zip(self.plan.params, self.plan.phases[self.phase].assignments, strict=True)
        rows = [_cells(param, what) for param, what in pairs]
        columns = zip(HEADS, *(row[:-1] for row in rows), strict=True)
        widths = [max(map(cell_len, column)) for column in columns]
        if max((_width(row, widths) for row in rows), default=0) > options.max_width:
            yield from (line for row in rows for line in _two_lines(row))
        else:
            yield Text.assemble(*_spaced(HEADS, widths), style="bold")
            yield from (_one_line(row, widths) for row in rows)


def _cells(param: PlannedParam, what: Assignment) -> tuple[str, ...]:
    numbers = (NOTHING, NOTHING)
    if what.trainable:
        numbers = (format_rate(what.lr), format_number(what.weight_decay))
    aliases = "".join(f"= {alias} " for alias in param.aliases).rstrip()
    cells = (param.name, format_shape(param.shape), what.state, *numbers, what.rule, aliases)
    return tuple(visible(cell, keep="") for cell in cells)


def _width(row: Sequence[str], widths: Sequence[int]) -> int:
    extra = GAP + cell_len(row[-1]) if row[-1] else 0
    return sum(widths) + GAP * (len(widths) - 1) + extra


def _spaced(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    parts: list[str] = []
    for head, cell, width in zip(HEADS, cells, widths, strict=True):
        space = " " * (width - cell_len(cell))
        parts += [" " * GAP if parts else "", space + cell if head in RIGHT else cell + space]
    return parts


def _one_line(row: Sequence[str], widths: Sequence[int]) -> Text:
    parts = _spaced(row[:-1], widths)
    styles = {"state": STATE_STYLES.get(row[2], ""), "rule": "cyan"}
    line = Text(no_wrap=True, overflow="ignore")
    for index, part in enumerate(parts):
        line.append(part, style=styles.get(HEADS[index // 2], ""))
    if row[-1]:
        line.append(" " * GAP + row[-1], style="dim")
    line.rstrip()
    return line


def _two_lines(row: Sequence[str]) -> tuple[Text | Padding, ...]:
    name, shape, state, rate, decay, rule, aliases = row
    numbers = f", LR {rate}, weight decay {decay}" if state == "trainable" else ""
    style = STATE_STYLES.get(state, "")
    detail = Text.assemble((state, style), f"{numbers}, {shape}, by ", (rule, "cyan"), overflow="fold")
    below = [detail] + ([Text(aliases, style="dim", overflow="fold")] if aliases else [])
    head = Text(name, style="bold", overflow="fold")
    return (head, *(Padding(line, (0, 0, 0, GAP), expand=False) for line in below))
