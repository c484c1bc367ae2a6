"""The plan as a picture of layers x phases: blocks train, bars are frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import log10

from freezeplan.diagnostics.wording import format_count
from freezeplan.render.written import short_rate
from freezeplan.report.records import GridCell, GridRow

WIDTH, SIDE, TOP, BOTTOM, GAP = 360, 6, 46, 24, 3
CHAR = 5.4
LABEL_CHAR, HEAD_CHAR = 6.0, 5.6
LONGEST = 18
FEW = 18
LEVELS = 5
"""How many shades tell rates apart, from the lowest of the plan to its highest."""


@dataclass(frozen=True)
class Block:
    """Hold a row's neighbouring cells that are alike; ``level`` is None where they are frozen."""

    x: float
    y: float
    width: float
    height: float
    level: int | None
    text: str
    title: str


@dataclass(frozen=True)
class GridChart:
    """Hold the picture of a plan: columns (x, width, text, name), labels (y, text, name) and blocks."""

    title: str
    description: str
    width: int
    height: int
    row: int
    label: float
    columns: tuple[tuple[float, float, str, str], ...]
    labels: tuple[tuple[float, str, str], ...]
    blocks: tuple[Block, ...]
    kind: str = "grid"


def grid_chart(rows: Sequence[GridRow], phases: Sequence[str]) -> GridChart:
    """Lay out rows, the last above as the top of a model is, over phases from left to right."""
    shown = list(reversed(rows))
    height = 20 if len(shown) <= FEW else 13
    label = 10 + LABEL_CHAR * min(LONGEST, max((len(row.name) for row in shown), default=0))
    columns = _columns(phases, label)
    tops = [TOP + place * (height + GAP) for place in range(len(shown))]
    trains = sum(any(cell.low is not None for cell in row.cells) for row in rows)
    return GridChart(
        title="What trains in which phase",
        description=(
            f"{format_count(len(rows))} rows from the top of the model down, {format_count(len(phases))} columns; "
            f"{format_count(trains)} of the rows train in some phase. The table below has every cell."
        ),
        width=WIDTH,
        height=TOP + len(shown) * (height + GAP) + BOTTOM,
        row=height,
        label=label,
        columns=columns,
        labels=tuple(
            (top + height / 2, cut(row.name, LONGEST), row.name) for top, row in zip(tops, shown, strict=True)
        ),
        blocks=tuple(_blocks(shown, phases, tops, columns, height)),
    )


def _columns(phases: Sequence[str], label: float) -> tuple[tuple[float, float, str, str], ...]:
    width = (WIDTH - SIDE - label) / max(len(phases), 1)
    room = int((width - 4) / HEAD_CHAR)
    return tuple(
        (
            round(label + place * width, 1),
            round(width, 1),
            _head(place + 1, name, room),
            f"{place + 1} {name}",
        )
        for place, name in enumerate(phases)
    )


def _head(number: int, name: str, room: int) -> str:
    if room >= 7:
        return cut(f"{number} {name}", room)
    return str(number) if room > len(str(number)) else ""


def _blocks(
    rows: Sequence[GridRow],
    phases: Sequence[str],
    tops: Sequence[float],
    columns: Sequence[tuple[float, float, str, str]],
    height: int,
) -> Iterator[Block]:
    rates = [rate for row in rows for cell in row.cells for rate in (cell.low, cell.high) if rate]
    low, high = (min(rates), max(rates)) if rates else (1.0, 1.0)
    for row, top in zip(rows, tops, strict=True):
        for cell, alike in groupby(range(len(phases)), key=lambda place, row=row: row.cells[place]):
            places = list(alike)
            x, end = columns[places[0]][0], sum(columns[places[-1]][:2])
            yield _block(row, cell, places, (x, top, round(end - x - 2, 1), height), (low, high))


def _block(
    row: GridRow,
    cell: GridCell,
    places: Sequence[int],
    box: tuple[float, float, float, int],
    rates: tuple[float, float],
) -> Block:
    x, top, width, height = box
    where = f"phase {places[0] + 1}" if len(places) == 1 else f"phases {places[0] + 1} to {places[-1] + 1}"
    title = f"{row.name}, {where}: {cell_text(cell)}"
    if cell.high is None:
        return Block(x, top + height / 2 - 1.5, width, 3, None, "", title)
    text = short_rate(cell.high)
    thick = height if cell.share == 1.0 else height * 0.5
    shown = text if len(text) * CHAR < width - 4 and cell.share == 1.0 and cell.low == cell.high else ""
    return Block(x, top + (height - thick) / 2, width, thick, _level(cell.high, *rates), shown, title)


def _level(rate: float, low: float, high: float) -> int:
    if not low < high or rate <= 0:
        return LEVELS - 1
    return round((LEVELS - 1) * log10(rate / low) / log10(high / low))


def cell_text(cell: GridCell) -> str:
    """Say what a phase does with a row.

    >>> cell_text(GridCell(0.0, None, None)), cell_text(GridCell(1.0, 1e-5, 1e-5))
    ('frozen', '1e-05')
    >>> cell_text(GridCell(0.25, 1e-5, 2e-5))
    '1e-05 to 2e-05, 25 % of it'
    """
    if cell.low is None or cell.high is None:
        return "frozen"
    rates = " to ".join(dict.fromkeys(short_rate(rate) for rate in (cell.low, cell.high)))
    return rates if cell.share == 1.0 else f"{rates}, {100 * cell.share:.2g} % of it"


def cut(text: str, most: int) -> str:
    """Shorten a text to so many characters.

    >>> cut("embeddings", 6), cut("pooler", 6)
    ('embed…', 'pooler')
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"
