"""A plan where Python shows values: as text where it is printed, as a table in a notebook."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from freezeplan.plan.records import Plan
from freezeplan.render.filling import fill_template
from freezeplan.render.matrix import SIZES, MatrixView, line_cells, matrix_lines
from freezeplan.render.rows import plan_rows
from freezeplan.render.schedule import length_text
from freezeplan.render.summary import model_line, plan_facts, trained_line
from freezeplan.render.table import HEADS, NUMBERS, PlanView, cells_of
from freezeplan.render.visible import visible

WIDTH = 110
TRAINS = "trainable"


def plan_text(plan: Plan) -> str:
    """Return what ``freezeplan show`` prints of a plan, without colours."""
    view = MatrixView(plan) if len(plan.phases) > 1 else PlanView(plan)
    console = Console(file=StringIO(), width=WIDTH, color_system=None, force_terminal=False)
    console.print(view)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().rstrip("\n")


def plan_html(plan: Plan) -> str:
    """Return a plan's table as HTML: the groups of one phase, or groups x phases, then what holds for all."""
    several = len(plan.phases) > 1
    heads, rows, trains = _matrix(plan) if several else _table(plan)
    facts = [("model", model_line(plan)), ("trainable", trained_line(plan)), *plan_facts(plan)]
    return fill_template(
        "plan.html.j2",
        {},
        heads=heads,
        rows=list(zip(rows, trains, strict=True)),
        phases=[(phase.name, length_text(phase.length)) for phase in plan.phases] if several else [],
        facts=[(label, visible(text)) for label, text in facts],
        advice=[(item.code, visible(item.message)) for item in plan.diagnostics],
    )


Drawn = tuple[list[tuple[str, bool]], list[list[str]], list[bool]]


def _table(plan: Plan) -> Drawn:
    rows = plan_rows(plan)
    cells = [cells_of(row) for row in rows]
    heads = [head for head in HEADS if head != "options" or any(row[head] for row in cells)]
    return (
        [(head, head in NUMBERS) for head in heads],
        [[row[head] for head in heads] for row in cells],
        [row.trainable for row in rows],
    )


def _matrix(plan: Plan) -> Drawn:
    lines = matrix_lines(plan)
    heads = ["group", *SIZES, *(visible(phase.name, keep="") for phase in plan.phases)]
    trains = [any(rate is not None for rate in line.rates) for line in lines]
    return [(head, head != "group") for head in heads], [line_cells(line) for line in lines], trains
