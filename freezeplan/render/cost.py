"""What a plan costs, as tables for people: the same record that the JSON holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from freezeplan.diagnostics.wording import NOTHING, counted, format_bytes, format_count, format_flops
from freezeplan.render.schedule import Fact
from freezeplan.render.table import ASCII_RULE, GAP, RULE, facts_grid
from freezeplan.render.visible import visible

if TYPE_CHECKING:
    from freezeplan.cost.records import Cost, PhaseCost, Store

MEMORY = ("memory", "weights", "gradients", "optimizer state", "activations", "peak", "evaluation")
WORK = ("work", "step forward", "step backward", "epoch", "fill store", "epoch from store", "store")
Cells = tuple[str, ...]


class CostView:
    """Render what every phase costs: one phase as labelled lines, several as two tables with a line for each.

    A console too narrow for a table gets the lines for each phase; nothing is cut. What the numbers rest on
    stands below them.
    """

    def __init__(self, cost: Cost) -> None:
        self.cost = cost

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("")
        title = f"cost of {self.cost.batches}, {self.cost.inputs}{self.cost.company}"
        yield Text(title, style="bold", overflow="fold")
        tables = [_cells(MEMORY, memory_cells, self.cost), _cells(WORK, work_cells, self.cost)]
        if len(self.cost.phases) > 1 and max(map(_width, tables)) <= options.max_width:
            yield from _tables(tables, self.cost, ascii_only=options.ascii_only)
        else:
            yield from _stacked(self.cost)
        for text in (*_margin(self.cost), *self.cost.assumptions):
            yield Text(visible(f"note: {text}"), overflow="fold")


def memory_cells(phase: PhaseCost) -> Cells:
    """Return a phase's bytes, in the order of ``MEMORY``."""
    memory = phase.memory
    sizes = (memory.weights, memory.gradients, memory.optimizer_state, memory.activations, memory.peak)
    evaluation = NOTHING if memory.evaluation is None else format_bytes(memory.evaluation)
    return (*map(format_bytes, sizes), evaluation)


def work_cells(phase: PhaseCost) -> Cells:
    """Return a phase's FLOPs and its store, in the order of ``WORK``."""
    work = (phase.step.forward, phase.step.backward, phase.epoch)
    store = phase.store
    if store is None:
        return (*map(format_flops, work), NOTHING, NOTHING, NOTHING)
    return (*map(format_flops, (*work, store.build, store.epoch)), format_bytes(store.nbytes))


def phase_facts(cost: Cost, phase: PhaseCost) -> Iterator[Fact]:
    """Yield one phase as pairs of label and text."""
    weights, gradients, state, activations, peak, evaluation = memory_cells(phase)
    saved = format_bytes(phase.memory.saved)
    yield "weights", weights
    yield "gradients", gradients
    yield "optimizer state", state
    yield "activations", f"{activations}, of them {saved} saved for the backward pass"
    yield "peak", peak
    if phase.memory.evaluation is not None:
        yield "evaluation", f"{evaluation}, in batches of {format_count(cost.eval_batch_size)}"
    work = (phase.step.forward, phase.step.backward)
    yield "step", "{} forward, {} backward".format(*map(format_flops, work))
    yield "epoch", f"{format_flops(phase.epoch)} for {_rows(phase)}"
    yield ("stored prefix", _prefix(phase.store)) if phase.store else ("no store", phase.no_store)


def _rows(phase: PhaseCost) -> str:
    several = len(phase.learning) > 1
    if len({*phase.rows.values()}) == 1:
        each = f" of each of {counted(len(phase.learning), 'task')}" if several else ""
        return counted(next(iter(phase.rows.values())), "row") + each
    named = ", ".join(f"{task} {format_count(rows)}" for task, rows in phase.rows.items())
    return f"{counted(sum(phase.rows.values()), 'row')} ({named})"


def _prefix(store: Store) -> str:
    """Say in one line what a store holds, takes and saves."""
    what = f"{store.prefix.layers} of {counted(store.prefix.of, 'layer')}"
    if store.prefix.whole_backbone:
        what = "the whole backbone, as its heads read it"
    size = f"{format_bytes(store.nbytes)} for {counted(store.rows, 'row')}"
    return f"{what}: {size}, {format_flops(store.build)} once, then {format_flops(store.epoch)} per epoch"


def _margin(cost: Cost) -> Iterator[str]:
    most = max((phase.memory.highest for phase in cost.phases), default=0)
    margins = (cost.allocator_margin, cost.largest_margin)
    usual, largest = (format_bytes(round(most * margin)) for margin in margins)
    yield (
        f"the allocator's margin is not in these bytes: {format_bytes(most)} of tensors take about {usual} of memory, "
        f"up to {largest} ({margins[0]} to {margins[1]} times as much, measured with glibc)"
    )


def _cells(heads: Cells, cells_of: Callable[[PhaseCost], Cells], cost: Cost) -> list[Cells]:
    rows = [(visible(phase.name, keep=""), *cells_of(phase)) for phase in cost.phases]
    return [heads, *rows]


def _width(rows: Sequence[Cells]) -> int:
    columns = zip(*rows, strict=True)
    return sum(max(map(cell_len, column)) for column in columns) + GAP * (len(rows[0]) - 1)


def _tables(tables: Sequence[list[Cells]], cost: Cost, *, ascii_only: bool) -> Iterator[Table | Text]:
    for heads, *rows in tables:
        table = Table(
            box=ASCII_RULE if ascii_only else RULE,
            show_edge=False,
            pad_edge=False,
            padding=(0, GAP - 1, 0, 0),
        )
        for index, head in enumerate(heads):
            table.add_column(Text(head), justify="right" if index else "left", no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row))
        yield table
        yield Text("")
    yield from (
        Text(visible(f"no store in {phase.name}: {phase.no_store}"), overflow="fold")
        for phase in cost.phases
        if phase.store is None
    )


def _stacked(cost: Cost) -> Iterator[Table | Text]:
    for index, phase in enumerate(cost.phases):
        if len(cost.phases) > 1:
            yield Text(visible(f"phase {index + 1}: {phase.name}"), style="bold", overflow="fold")
        yield facts_grid(phase_facts(cost, phase))
