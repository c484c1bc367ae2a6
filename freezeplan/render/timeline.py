"""A plan in phases as a picture: groups from the bottom of the model to the top, time from left to right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import log10

from freezeplan.plan.records import Length, Plan
from freezeplan.render.filling import fill_template
from freezeplan.render.matrix import Line, matrix_lines
from freezeplan.render.schedule import length_text
from freezeplan.render.visible import visible
from freezeplan.render.written import short_rate

ROW, GAP, TOP, LABEL, WIDTH, SIDE = 26, 4, 72, 150, 640, 12
LINE = 16
MOST_WIDE = 6
CHAR = 6.6
MOST_LISTED = 30
"""Most phases whose names are written out below the picture where they have no room above their columns."""
FAINTEST, STRONGEST = 0.35, 1.0


@dataclass(frozen=True)
class Cell:
    """One group in one phase; ``strength`` (0 to 1) is the rate's share of the span of all rates."""

    x: float
    y: float
    width: float
    text: str
    strength: float | None


@dataclass(frozen=True)
class Head:
    """One phase: where it stands, its width, what stands above it, and its number, name and length."""

    x: float
    width: float
    text: str
    title: str


def timeline_svg(plan: Plan) -> str:
    """Return the picture of a plan as the text of an SVG file.

    A column is a phase, as wide as it is long (one with ``until`` as its longest; one in steps as one epoch); a
    row is a group, the top of the model above. Frozen cells are grey; trained ones are green, the darker the
    higher the rate, which is written in them. Phases are named above their columns, and below the picture where one
    has no room for its name. The text is the same for the same plan, byte for byte.
    """
    lines = matrix_lines(plan)[::-1]
    label = max(LABEL, *(round(CHAR * len(line.label)) + SIDE for line in lines)) if lines else LABEL
    columns = _columns([phase.length for phase in plan.phases], label)
    heads = [
        Head(
            x, width, _above(number, phase.name, width), f"{number} {phase.name}: {length_text(phase.length)}"
        )
        for number, (phase, (x, width)) in enumerate(zip(plan.phases, columns, strict=True), 1)
    ]
    listed = _below(heads, [phase.name for phase in plan.phases])
    rows = [(visible(line.label, keep=""), TOP + at * (ROW + GAP)) for at, line in enumerate(lines)]
    return fill_template(
        "timeline.svg.j2",
        {},
        width=round(label + WIDTH + SIDE),
        height=TOP + len(lines) * (ROW + GAP) + len(listed) * LINE + SIDE,
        right=round(label + WIDTH),
        listed=[(text, TOP + len(lines) * (ROW + GAP) + at * LINE + LINE) for at, text in enumerate(listed)],
        title=visible(plan.model, keep=""),
        label=label,
        row=ROW,
        heads=heads,
        rows=rows,
        cells=list(_cells(lines, columns)),
    )


def _above(number: int, name: str, width: float) -> str:
    """Return what stands above a column: number and name, as much of them as there is room for."""
    whole, room = visible(f"{number} {name}", keep=""), int(width / CHAR)
    if len(whole) <= room:
        return whole
    if room > len(str(number)) + 4:
        return f"{whole[: room - 1]}…"
    return str(number) if len(str(number)) <= room else ""


def _below(heads: Sequence[Head], names: Sequence[str]) -> list[str]:
    """Return the lines below the picture: every phase, where the names of some have no room above."""
    cut = any(
        head.text != visible(f"{at} {name}", keep="")
        for at, (head, name) in enumerate(zip(heads, names, strict=True), 1)
    )
    if not cut or len(heads) > MOST_LISTED:
        return []
    room = int(WIDTH / CHAR)
    lines = [visible(head.title, keep="") for head in heads]
    return [line if len(line) <= room else f"{line[: room - 1]}…" for line in lines]


def _columns(lengths: Sequence[Length], label: float) -> list[tuple[float, float]]:
    sizes = [1 if length.unit == "steps" else min(length.count, MOST_WIDE) for length in lengths]
    # Of very many phases the gaps would take more than all of the width.
    gap = min(GAP, WIDTH / (4 * len(sizes)))
    share = (WIDTH - gap * (len(sizes) - 1)) / sum(sizes)
    widths = [round(share * size, 1) for size in sizes]
    starts = [0.0, *accumulate(width + gap for width in widths)]
    return [(round(label + start, 1), width) for start, width in zip(starts, widths, strict=False)]


def _cells(lines: Sequence[Line], columns: Sequence[tuple[float, float]]) -> Iterator[Cell]:
    rates = [rate for line in lines for rate in line.rates if rate is not None]
    low, high = (log10(min(rates)), log10(max(rates))) if rates else (0.0, 0.0)
    for at, line in enumerate(lines):
        for (x, width), rate in zip(columns, line.rates, strict=True):
            text = "" if rate is None else short_rate(rate)
            shown = text if CHAR * len(text) < width else ""
            strength = None if rate is None else _strength(log10(rate), low, high)
            yield Cell(x, TOP + at * (ROW + GAP), width, shown, strength)


def _strength(rate: float, low: float, high: float) -> float:
    share = (rate - low) / (high - low) if high > low else 1.0
    return round(FAINTEST + share * (STRONGEST - FAINTEST), 2)
