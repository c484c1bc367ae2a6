"""Scores with their errors beside each other, and against what they cost, as what a template draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from freezeplan.report.line_chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, short
from freezeplan.report.scales import Scale, scale_over

CLOSE = 11


@dataclass(frozen=True)
class Scored:
    """Name something with a score, its standard error, and what it cost; ``strong`` stands out."""

    name: str
    score: float
    error: float
    cost: float
    front: bool
    strong: bool


@dataclass(frozen=True)
class DrawnDot:
    """Hold the place of one, the ends of its error bar, its number, and the numbers that stand beside it."""

    x: float
    y: float
    low: float
    high: float
    number: int
    name: str
    front: bool
    strong: bool
    text: str = ""


@dataclass(frozen=True)
class DotChart:
    """Hold a chart of dots with error bars, numbered as the rows of the table beside it."""

    title: str
    description: str
    x_name: str
    y_name: str
    dots: tuple[DrawnDot, ...]
    front: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    kind: str = "dots"
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def cost_chart(title: str, items: Sequence[Scored], names: tuple[str, str]) -> DotChart:
    """Lay out scores (up, with one standard error to both sides) over costs (across, in decades).

    The front joins what nothing is both cheaper and better than. What has no finite score or error is left out.
    """
    shown = [(number, item) for number, item in enumerate(items, 1) if isfinite(item.score + item.error)]
    across = scale_over((item.cost for _, item in shown), LEFT + 8, WIDTH - RIGHT - 8, log=True)
    ends = (item.score + sign * item.error for _, item in shown for sign in (-1, 1))
    up = scale_over(ends, HEIGHT - BOTTOM, TOP)
    dots = [_dot(number, item, across, up) for number, item in shown]
    front = sorted((dot.x, dot.y) for dot in dots if dot.front)
    return DotChart(
        title=title,
        description=" ".join(f"{number} {_words(item, names[0])}." for number, item in shown),
        x_name=names[0],
        y_name=names[1],
        dots=tuple(_with_texts(dots)),
        front="M" + "L".join(f"{x:g} {y:g}" for x, y in front) if len(front) > 1 else "",
        x_ticks=across.ticks(4),
        y_ticks=up.ticks(),
    )


def _dot(number: int, item: Scored, across: Scale, up: Scale) -> DrawnDot:
    ends = up.at(item.score - item.error), up.at(item.score + item.error)
    place = across.at(item.cost), up.at(item.score)
    return DrawnDot(*place, *ends, number, item.name, item.front, item.strong)


def _with_texts(dots: Sequence[DrawnDot]) -> Iterator[DrawnDot]:
    """Yield the dots with their numbers; those that lie close to each other have theirs beside the first of them."""
    firsts: dict[int, list[DrawnDot]] = {}
    for dot in dots:
        near = (
            number
            for number, (first, *_) in firsts.items()
            if abs(first.x - dot.x) < CLOSE and abs(first.y - dot.y) < CLOSE
        )
        firsts.setdefault(next(near, dot.number), []).append(dot)
    for dot in dots:
        yield replace(dot, text=", ".join(str(item.number) for item in firsts.get(dot.number, ())))


def _words(item: Scored, cost: str) -> str:
    front = ", on the front" if item.front else ""
    return f"{item.name}: {short(item.score)} plus or minus {short(item.error)}, {cost} {short(item.cost)}{front}"
