"""Lines over the steps of a run, or over the depths of a network, as what a template draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite

from freezeplan.diagnostics.wording import counted
from freezeplan.report.records import Point, Series
from freezeplan.report.scales import Scale, scale_over, tick_text

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 30, 38
CHAR = 5.8
COLOURS = 6
"""How many lines have a colour and a dash of their own; more are drawn in shades from first to last."""
Span = tuple[int, int, str]
Errors = Sequence[tuple[float, float, float]]


@dataclass(frozen=True)
class DrawnLine:
    """Hold one line: its path, the places of its points where they are marked, its colour or its shade in percent."""

    name: str
    path: str
    dots: tuple[tuple[float, float], ...]
    bars: tuple[tuple[float, float, float], ...]
    colour: int
    shade: int | None = None
    faint: bool = False


@dataclass(frozen=True)
class DrawnSpan:
    """Hold where a phase lies, its text where there is room, and its number and name."""

    x: float
    width: float
    text: str
    name: str


@dataclass(frozen=True)
class LineChart:
    """Hold a chart with all its texts and places."""

    title: str
    description: str
    x_name: str
    y_name: str
    lines: tuple[DrawnLine, ...]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    spans: tuple[DrawnSpan, ...] = ()
    levels: tuple[tuple[float, str], ...] = ()
    kind: str = field(default="lines", init=False)
    width: int = field(default=WIDTH, init=False)
    height: int = field(default=HEIGHT, init=False)
    left: int = field(default=LEFT, init=False)
    right: int = field(default=WIDTH - RIGHT, init=False)
    top: int = field(default=TOP, init=False)
    bottom: int = field(default=HEIGHT - BOTTOM, init=False)

    @property
    def keys(self) -> tuple[DrawnLine, ...]:
        """The lines that a legend names: all of few, the first and the last of many."""
        return self.lines if len(self.lines) <= COLOURS else (self.lines[0], self.lines[-1])


@dataclass(frozen=True)
class ChartLine:
    """Say what is to be drawn of a series: ``marked`` points, a ``faint`` line, error bars (x, low, high)."""

    series: Series
    marked: bool = False
    faint: bool = False
    errors: Errors = ()


def line_chart(
    title: str,
    lines: Sequence[ChartLine],
    names: tuple[str, str],
    *,
    spans: Sequence[Span] = (),
    levels: Sequence[tuple[float, str]] = (),
    log: bool = False,
    least: float = 0.0,
) -> LineChart:
    """Lay out lines over whole numbers; ``names`` are those of both axes, ``spans`` the phases below them.

    ``levels`` are values that need no step, drawn across. ``least`` is the least that the values' axis spans. What is
    no finite number leaves a gap.
    """
    points = [point for line in lines for part in line.series.parts for point in part]
    ends = [value for line in lines for _, low, high in line.errors for value in (low, high)]
    steps = [float(step) for step, _ in points] + [float(end) for span in spans for end in span[:2]]
    across = scale_over(steps, LEFT, WIDTH - RIGHT, whole=True)
    values = [*(value for _, value in points), *ends, *(value for value, _ in levels)]
    up = scale_over(values, HEIGHT - BOTTOM, TOP, log=log, least=least)
    return LineChart(
        title=title,
        description=_description(lines, names, log=log),
        x_name=names[0],
        y_name=names[1],
        lines=tuple(_drawn(line, place, len(lines), across, up) for place, line in enumerate(lines)),
        x_ticks=[tick for tick in across.ticks() if "." not in tick[1]],
        y_ticks=up.ticks(),
        spans=tuple(_spans(spans, across)),
        levels=tuple((up.at(value), name) for value, name in levels),
    )


def _drawn(line: ChartLine, place: int, count: int, across: Scale, up: Scale) -> DrawnLine:
    runs = [run for part in line.series.parts for run in _finite(part)]
    placed = [[(across.at(step), up.at(value)) for step, value in run] for run in runs]
    alone = {run[0] for run in placed if len(run) == 1}
    dots = [point for run in placed for point in run if line.marked or point in alone]
    return DrawnLine(
        name=line.series.name,
        path=" ".join(_path(run) for run in placed if len(run) > 1),
        dots=tuple(dots),
        bars=tuple((across.at(x), up.at(low), up.at(high)) for x, low, high in line.errors),
        colour=place % COLOURS,
        shade=round(100 * place / (count - 1)) if count > COLOURS else None,
        faint=line.faint,
    )


def _finite(part: Sequence[Point]) -> Iterator[list[Point]]:
    """Yield the runs of points that are numbers."""
    run: list[Point] = []
    for point in part:
        if isfinite(point[1]):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _path(run: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in run)


def _spans(spans: Sequence[Span], across: Scale) -> Iterator[DrawnSpan]:
    for number, (first, last, name) in enumerate(spans, 1):
        x, end = across.at(first), across.at(last)
        room = int((end - x - 6) / CHAR)
        texts = (f"{number} {name}", f"{number} {name[: max(0, room - 3)]}…" if room > 6 else "", str(number))
        shown = next((text for text in texts if text and len(text) <= room), "")
        yield DrawnSpan(x, round(end - x, 1), shown, f"{number} {name}")


def _description(lines: Sequence[ChartLine], names: tuple[str, str], *, log: bool) -> str:
    """Say in words what a chart shows, for those who do not see it."""
    scale = ", on a logarithmic scale" if log else ""
    head = f"{counted(len(lines), 'line')} of {names[1]} over {names[0]}s{scale}."
    return " ".join([head, *(_course(line.series, names[0]) for line in lines[:COLOURS])])


def _course(series: Series, x_name: str) -> str:
    points = [point for part in series.parts for point in part if isfinite(point[1])]
    if not points:
        return f"{series.name}: no number."
    (first, start), (last, end) = points[0], points[-1]
    values = [value for _, value in points]
    whole = f"{short(start)} at {x_name} {tick_text(first)}, {short(end)} at {x_name} {tick_text(last)}"
    return f"{series.name}: {whole}, between {short(min(values))} and {short(max(values))}."


def short(value: float) -> str:
    """Write a value with four digits.

    >>> short(0.123456), short(float("nan"))
    ('0.1235', 'no number')
    """
    return f"{value:.4g}" if isfinite(value) else "no number"
