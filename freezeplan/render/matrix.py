"""A plan in phases as one compact matrix: groups x phases, and below it what each phase is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from freezeplan.diagnostics.wording import (
    counted,
    format_bytes,
    format_count,
    format_number,
    format_percent,
    format_rate,
)
from freezeplan.plan.records import Group, Length, Phase, Plan
from freezeplan.render.rows import ordered_items
from freezeplan.render.summary import (
    Fact,
    execution_line,
    format_options,
    plan_facts,
    stored_layers,
    trained_line,
)
from freezeplan.render.table import ASCII_RULE, GAP, RULE, STATE_STYLES, facts_grid
from freezeplan.render.visible import visible

FROZEN = "frozen"
MOST_DIGITS = 8
SIZES = ("tensors", "parameters")


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
    it trains at which rate. ``store`` is the spec's ``train.store``, where the bundled trainer is to train.
    """

    def __init__(self, plan: Plan, notes: Iterable[str] = (), store: str | None = None) -> None:
        self.plan = plan
        self.store = store
        self.notes = tuple(notes)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = matrix_lines(self.plan)
        if _width(lines) <= options.max_width:
            yield _matrix(lines, len(self.plan.phases), ascii_only=options.ascii_only)
        else:
            yield from _stacked(lines)
        yield Text("")
        yield from _phases(self.plan, options)
        yield Text("")
        yield facts_grid(
            (
                ("trainable", trained_line(self.plan)),
                *plan_facts(self.plan),
                *_schedules(self.plan),
                *_execution(self.plan, self.store),
            )
        )
        for note in self.notes:
            yield Text(visible(f"note: {note}"), overflow="fold")


def matrix_lines(plan: Plan) -> list[Line]:
    """Return the lines of the matrix in the order of the model."""
    found: dict[tuple[str, tuple[float | None, ...]], Line] = {}
    for item in ordered_items(plan):
        rates = item.lr if isinstance(item, Group) else (None,) * len(plan.phases)
        key = (item.rule, rates)
        label = item.name if isinstance(item, Group) else item.rule
        known = found.get(key, Line(label, rates, 0, 0))
        found[key] = Line(
            known.label, rates, known.tensors + len(item.members), known.parameters + item.numel
        )
    rules = [rule for rule, _ in found]
    return [
        replace(line, label=rule if rules.count(rule) == 1 else line.label.removesuffix("/no_decay"))
        for (rule, _), line in found.items()
    ]


def short_rate(rate: float) -> str:
    """Write a rate in the few cells of a column; ``~`` says that it was rounded.

    >>> short_rate(2e-5), short_rate(1.24504934515026e-07)
    ('2e-05', '~1.25e-07')
    """
    exact = format_rate(rate)
    return exact if len(exact) <= MOST_DIGITS else f"~{rate:.2e}"


def _cells(line: Line) -> list[str]:
    rates = [FROZEN if rate is None else short_rate(rate) for rate in line.rates]
    return [visible(line.label, keep=""), format_count(line.tensors), format_count(line.parameters), *rates]


def _width(lines: Sequence[Line]) -> int:
    heads = ["group", *SIZES, *map(str, range(1, len(lines[0].rates) + 1))] if lines else []
    columns = zip(heads, *map(_cells, lines), strict=True)
    widths = [max(map(cell_len, column)) for column in columns]
    return sum(widths) + GAP * (len(widths) - 1)


def _matrix(lines: Sequence[Line], phases: int, *, ascii_only: bool) -> Table:
    rule = ASCII_RULE if ascii_only else RULE
    table = Table(box=rule, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    table.add_column(Text("group"), no_wrap=True)
    for head in (*SIZES, *map(str, range(1, phases + 1))):
        table.add_column(Text(head), justify="right", no_wrap=True)
    for line in lines:
        label, tensors, parameters, *rates = _cells(line)
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
        parts.append(f"{_span(numbers)} {FROZEN if rate is None else f'at {short_rate(rate)}'}")
    return "phase " + ", ".join(parts)


def _span(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"


def _phases(plan: Plan, options: ConsoleOptions) -> Iterator[Table | Text]:
    heads = ("", "phase", "length", "trainable", "optimizer state", "on entry")
    rows = [_phase_cells(plan, index) for index in range(len(plan.phases))]
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    if sum(widths[:-1]) + GAP * len(widths) + 12 > options.max_width:
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


def length_text(length: Length) -> str:
    """Say how long a phase is.

    >>> length_text(Length("epochs", 2)), length_text(Length("until", 5, "topic/accuracy", patience=2))
    ('2 epochs', 'until topic/accuracy (patience 2), at most 5 epochs')
    """
    if length.unit != "until":
        return counted(length.count, length.unit.removesuffix("s"))
    conditions = []
    if length.target is not None:
        sign = "<=" if (length.metric or "").endswith("/loss") else ">="
        conditions.append(f"{sign} {format_number(length.target)}")
    if length.patience is not None:
        conditions.append(f"patience {length.patience}")
    best = ", best restored" if length.restore_best else ""
    epochs = counted(length.count, "epoch")
    return f"until {length.metric} ({', '.join(conditions)}), at most {epochs}{best}"


def entry_text(plan: Plan, index: int) -> str:
    """Say what changes when a phase begins: what thaws or freezes, which state is dropped, the schedule."""
    phase = plan.phases[index]
    again = set(phase.thawed) & _trained_before(plan, index)
    parts = [f"thaws {counted(len(phase.thawed), 'tensor')}"] if phase.thawed else []
    if phase.refrozen:
        parts.append(f"freezes {counted(len(phase.refrozen), 'tensor')}")
    if again:
        kept = "kept" if phase.on_thaw == "keep" else "begun anew"
        parts.append(f"optimizer state of {format_count(len(again))} thawed again is {kept}")
    if index and phase.schedule.stretch == index:
        parts.append(f"{phase.schedule.name} schedule begins anew")
    return "; ".join(parts)


def _trained_before(plan: Plan, index: int) -> set[str]:
    return {name for before in range(index) for name in plan.names(before, trainable=True)}


def _schedules(plan: Plan) -> Iterator[Fact]:
    spans: dict[str, list[str]] = {}
    for stretch, members in groupby(enumerate(plan.phases, 1), key=lambda pair: pair[1].schedule.stretch):
        numbers = [number for number, _ in members]
        spans.setdefault(_schedule(plan.phases[stretch]), []).append(_span(numbers))
    for text, found in spans.items():
        whole = len(spans) == 1 and len(found) == 1
        several = f"anew in each of the phases {', '.join(found)}"
        over = f"over {'phases' if '-' in found[0] else 'phase'} {found[0]}" if len(found) == 1 else several
        yield "schedule", text if whole else f"{text}, {over}"
    if plan.stop_when:
        yield "stops when", f"{plan.stop_when.metric} >= {format_number(plan.stop_when.at_least)}"


def _execution(plan: Plan, store: str | None) -> Iterator[Fact]:
    """Say how many layers of each phase may run from the store."""
    if store is None:
        return
    layers = [stored_layers(plan, index) for index in range(len(plan.phases))]
    if store == "off" or set(layers) == {"0"}:
        yield "execution", execution_line(plan, 0, store)
        return
    length = max(phase.stack_length for phase in plan.phases)
    of = f" of {length}" if length else ""
    where = f"in phases {_span(range(1, len(layers) + 1))}"
    yield "execution", f'stored prefix up to k = {", ".join(layers)}{of} {where} (train.store = "{store}")'


def _schedule(phase: Phase) -> str:
    plan = phase.schedule
    warmup = f", warm-up {warmup_text(plan.warmup)}" if plan.warmup else ""
    options = f", {format_options(plan.options)}" if plan.options else ""
    return f"{plan.name}{warmup}{options}"


def warmup_text(warmup: int | float) -> str:
    """Write a warm-up: a number of steps or a share of all.

    >>> warmup_text(100), warmup_text(0.06)
    ('100 steps', '6 %')
    """
    return f"{100 * warmup:g} %" if isinstance(warmup, float) else counted(warmup, "step")
