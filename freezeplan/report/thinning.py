"""Fewer points that draw the same line."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from freezeplan.report.records import Point

MOST_POINTS = 120
MOST_BEFORE = 400
TOLERANCE = 0.02
"""In decades: less than a pixel of a chart of rates."""


def bucket_means(points: Sequence[Point], every: int) -> tuple[Point, ...]:
    """Return the mean of each ``every`` points in a row, at the last one's step.

    >>> bucket_means([(1, 2.0), (2, 4.0), (3, 1.0)], 2)
    ((2, 3.0), (3, 1.0))
    """
    parts = [points[start : start + every] for start in range(0, len(points), every)]
    return tuple((part[-1][0], sum(value for _, value in part) / len(part)) for part in parts)


def thinned_rates(points: Sequence[Point], tolerance: float = TOLERANCE) -> tuple[Point, ...]:
    """Return the points of a line of rates without those that a straight line on a logarithmic scale passes through.

    The rule is that of Douglas and Peucker, Algorithms for the reduction of the number of points required to represent
    a digitized line, 1973, with the distance along the scale. Ends and the highest point stay.

    >>> thinned_rates([(0, 1.0), (1, 1.0), (2, 1.0), (3, 0.1)])
    ((0, 1.0), (2, 1.0), (3, 0.1))
    """
    points = _strided(points)
    heights = _logarithms([value for _, value in points])
    kept, todo = {0, len(points) - 1}, [(0, len(points) - 1)]
    while todo:
        first, last = todo.pop()
        place, distance = _farthest([step for step, _ in points], heights, first, last)
        if distance > tolerance:
            kept.add(place)
            todo += [(first, place), (place, last)]
    return tuple(points[place] for place in sorted(kept))


def _strided(points: Sequence[Point]) -> list[Point]:
    stride = -(-len(points) // MOST_BEFORE)
    highest = max(range(len(points)), key=lambda place: points[place][1])
    wanted = {0, highest, len(points) - 1, *range(0, len(points), stride)}
    return [points[place] for place in sorted(wanted)]


def _logarithms(values: Sequence[float]) -> list[float]:
    """Return decades; 0 counts as a tenth of the smallest rate that is not."""
    floor = min((value for value in values if value > 0), default=1.0) / 10
    return [log10(max(value, floor)) for value in values]


def _farthest(steps: Sequence[int], heights: Sequence[float], first: int, last: int) -> tuple[int, float]:
    """Return the point between two others that is farthest from the line between them, and how far it is."""
    found, most = first, 0.0
    width = steps[last] - steps[first]
    for place in range(first + 1, last):
        share = (steps[place] - steps[first]) / width
        distance = abs(heights[place] - heights[first] - share * (heights[last] - heights[first]))
        if distance > most:
            found, most = place, distance
    return found, most
