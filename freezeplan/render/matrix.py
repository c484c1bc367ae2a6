"""A plan in phases as one compact matrix: groups x phases, and below it what each phase is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from freezeplan.diagnostics.wording import counted, format_bytes, format_count, format_percent
from freezeplan.plan.records import FrozenSet, Group, Plan
from freezeplan.render.rows import MASKED, label_of, ordered_items
from freezeplan.render.schedule import Fact, length_text, span
from freezeplan.render.summary import (
    entry_text,
    plan_facts,
    run_facts,
    trained_line,
)
from freezeplan.render.table import ASCII_RULE, GAP, RULE, STATE_STYLES, facts_grid
from freezeplan.render.visible import visible
from freezeplan.render.written import short_rate

FROZEN = "frozen"
SIZES = ("tensors", "parameters")
LEAST_ENTRY = 24


@dataclass(frozen=True)
class Line:
    """Tensors that one rule treats alike in every phase; ``rates`` holds None where they are frozen."""

    label: str
    rates: tuple[float | None, ...]
    tensors: int
    parameters: int


class MatrixView:
    """Render a plan in phases: the rate of each group in each phase, then the phases one by one.

    Groups that differ in weight decay alone share a line. Long rates are rounded, which ``~`` says. On a
    console too narrow for one column per phase each group gets a line that says from which phase to which
    it trains at which rate. ``execution``, ``training`` and ``folded`` are those of a ``PlanView``.
    """

    def __init__(
        self,
        plan: Plan,
        notes: Iterable[str] = (),
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

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = matrix_lines(self.plan, folded=self.folded)
        if _width(lines) <= options.max_width:
            yield _matrix(lines, len(self.plan.phases), ascii_only=options.ascii_only)
        else:
            yield from _stacked(lines)
        yield Text("")
        yield from _phases(self.plan, options)
        yield Text("")
        yield facts_grid(self._facts(len(lines)))
        for note in self.notes:
            yield Text(visible(f"note: {note}"), overflow="fold")

    def _facts(self, lines: int) -> Iterator[Fact]:
        yield from run_facts(self.plan, self.training)
        yield "trainable", trained_line(self.plan)
        yield from plan_facts(self.plan, folded=lines < len(self.plan.groups) + len(self.plan.frozen))
        yield from _execution(self.plan, self.execution or ())


def matrix_lines(plan: Plan, *, folded: bool = True) -> list[Line]:
    """Return the lines of the matrix in the order of the model: one per group, or ``folded`` per rate."""
    if not folded:
        return [
            Line(label_of(item), _rates(item, plan), len(item.members), item.numel)
            for item in ordered_items(plan)
        ]
    found: dict[tuple[str, tuple[float | None, ...]], Line] = {}
    for item in ordered_items(plan):
        rates = _rates(item, plan)
        key = (item.rule, rates)
        known = found.get(key, Line(label_of(item), rates, 0, 0))
        found[key] = Line(
            known.label, rates, known.tensors + len(item.members), known.parameters + item.numel
        )
    rules = [rule for rule, _ in found]
    return [
        replace(line, label=rule if rules.count(rule) == 1 else MASKED.sub("", line.label))
        for (rule, _), line in found.items()
    ]


def _rates(item: Group | FrozenSet, plan: Plan) -> tuple[float | None, ...]:
    return item.lr if isinstance(item, Group) else (None,) * len(plan.phases)


def line_cells(line: Line) -> list[str]:
    """Return what stands in each column of a line: label, sizes, then each phase."""
    rates = [FROZEN if rate is None else short_rate(rate) for rate in line.rates]
    return [visible(line.label, keep=""), format_count(line.tensors), format_count(line.parameters), *rates]


def _width(lines: Sequence[Line]) -> int:
    heads = ["group", *SIZES, *map(str, range(1, len(lines[0].rates) + 1))] if lines else []
    columns = zip(heads, *map(line_cells, lines), strict=True)
    widths = [max(map(cell_len, column)) for column in columns]
    return sum(widths) + GAP * (len(widths) - 1)


def _matrix(lines: Sequence[Line], phases: int, *, ascii_only: bool) -> Table:
    rule = ASCII_RULE if ascii_only else RULE
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    table.add_column(Text("group"), no_wrap=True)
    for head in (*SIZES, *map(str, range(1, phases + 1))):
        table.add_column(Text(head), justify="right", no_wrap=True)
    for line in lines:
        label, tensors, parameters, *rates = line_cells(line)
        strong = "bold" if any(rate is not None for rate in line.rates) else ""
        table.add_row(Text(label, style=strong), Text(tensors), Text(parameters), *map(_rate, rates))
    return table


def _rate(cell: str) -> Text:
    return Text(cell, style=STATE_STYLES["frozen" if cell == FROZEN else "trainable"])


def _stacked(lines: Sequence[Line]) -> Iterator[Text]:
    for line in lines:
        size = f"{counted(line.parameters, 'parameter')} in {counted(line.tensors, 'tensor')}"
        head = Text.assemble((visible(line.label, keep=""), "bold"), f"{' ' * GAP}{size}", overflow="fold")
        yield head
        yield Text(f"{' ' * GAP}{_course(line.rates)}", overflow="fold")


def _course(rates: Sequence[float | None]) -> str:
    """Say from phase to phase: ``1-2 frozen, 3-6 at 1e-05``."""
    parts = []
    for rate, members in groupby(enumerate(rates, 1), key=lambda pair: pair[1]):
        numbers = [number for number, _ in members]
        parts.append(f"{span(numbers)} {FROZEN if rate is None else f'at {short_rate(rate)}'}")
    return ("phases " if "-" in parts[0].split()[0] else "phase ") + ", ".join(parts)


def _phases(plan: Plan, options: ConsoleOptions) -> Iterator[Table | Text]:
    heads = ("", "phase", "length", "trainable", "optimizer state", "on entry")
    rows = [_phase_cells(plan, index) for index in range(len(plan.phases))]
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    room = options.max_width - sum(widths[:-1]) - GAP * (len(widths) - 1)
    if room < min(widths[-1], LEAST_ENTRY):
        yield from _phase_blocks(rows)
        return
    rule = ASCII_RULE if options.ascii_only else RULE
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    for head in heads[:-1]:
        justify = "right" if head in ("trainable", "optimizer state", "") else "left"
        table.add_column(Text(head), justify=justify, no_wrap=True)
    table.add_column(Text(heads[-1]), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    yield table


def _phase_blocks(rows: Sequence[Sequence[str]]) -> Iterator[Table | Text]:
    for number, name, length, trainable, state, entry in rows:
        yield Text.assemble((f"{number} {name}", "bold"), f"{' ' * GAP}{length}", overflow="fold")
        facts = (("trainable", trainable), ("optimizer state", state), ("on entry", entry))
        yield facts_grid([(label, text) for label, text in facts if text], indent=GAP)


def _phase_cells(plan: Plan, index: int) -> tuple[str, ...]:
    phase = plan.phases[index]
    trained = f"{format_count(phase.trainable_numel)} ({format_percent(phase.trainable_numel, plan.numel)})"
    name = visible(phase.name, keep="")
    state = format_bytes(phase.optimizer_state_bytes)
    return (str(index + 1), name, length_text(phase.length), trained, state, entry_text(plan, index))


def _execution(plan: Plan, statements: Sequence[str]) -> Iterator[Fact]:
    """Say how the frozen prefix of each phase will run; neighbours that run alike share a line."""
    first = 0
    for _, alike in groupby(range(len(statements)), lambda index: _way(plan, statements, index)):
        phases = [*alike]
        where = f"{_places(phases)}: " if len(phases) < len(statements) else ""
        yield "" if first else "execution", where + _alike(plan, statements, phases)
        first += len(phases)


def _way(plan: Plan, statements: Sequence[str], index: int) -> str | int:
    """Return what is equal for phases that share a line: their statement, or of how many layers some are stored."""
    prefix = plan.phases[index].frozen_prefix
    layers = statements[index] == prefix.statement and not prefix.whole_backbone
    return prefix.of if layers else statements[index]


def _alike(plan: Plan, statements: Sequence[str], phases: Sequence[int]) -> str:
    if isinstance(_way(plan, statements, phases[0]), str):
        return statements[phases[0]]
    layers = dict.fromkeys(str(plan.phases[index].frozen_prefix.layers) for index in phases)
    return f"stored prefix k={', '.join(layers)} of {plan.phases[phases[0]].frozen_prefix.of}"


def _places(phases: Sequence[int]) -> str:
    return f"phase{'s' if len(phases) > 1 else ''} {span([index + 1 for index in phases])}"
