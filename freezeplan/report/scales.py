"""From numbers to places on a chart, and the round numbers that stand at its axes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from freezeplan.diagnostics.wording import format_count

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
HUGE = 1e300
"""What is larger stands at the end of a scale: beyond it there are no numbers to count with."""


@dataclass(frozen=True)
class Scale:
    """Map ``low`` to ``start`` and ``high`` to ``end``, in decades where ``log``; what is outside is at an end."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value."""
        low, high, value = (self._way(item) for item in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def _way(self, value: float) -> float:
        return log10(max(value, self.low)) if self.log else value

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Return the places of round numbers between both ends, and how they are written."""
        values = (
            _decades(self.low, self.high, most) if self.log else _round_numbers(self.low, self.high, most)
        )
        return [(self.at(value), tick_text(value)) for value in values]


def scale_over(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    log: bool = False,
    whole: bool = False,
    least: float = 0.0,
) -> Scale:
    """Return a scale with all values that are finite on it, and a little room; ``whole`` leaves out the room.

    On a logarithmic one, what is not positive stands at the lower end. A linear one spans at least ``least``.
    """
    found = [value for value in values if abs(value) < HUGE and (value > 1 / HUGE or not log)]
    low, high = (min(found), max(found)) if found else (0.1 if log else 0.0, 1.0)
    if whole and high > low:
        return Scale(low, high, start, end, log)
    if log:
        return Scale(
            10 ** floor(log10(low) + 1e-9), 10 ** ceil(log10(high) - 1e-9 + (low == high)), start, end, log
        )
    room = max(0.06 * (high - low), (least - high + low) / 2) or abs(high) / 10 or 1.0
    return Scale(low - room, high + room, start, end)


def _round_numbers(low: float, high: float, most: int) -> list[float]:
    """Return multiples of 1, 2, 2.5 or 5 times a power of ten."""
    rough = (high - low) / most
    if not rough > 0 or not isfinite(rough):
        return [low]
    power = 10.0 ** floor(log10(rough))
    step = next(power * size for size in STEPS if power * size >= rough * 0.999)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _decades(low: float, high: float, most: int) -> list[float]:
    first, last = ceil(log10(low) - 1e-9), floor(log10(high) + 1e-9)
    every = max(1, ceil((last - first + 1) / most))
    return [10.0**power for power in range(first, last + 1, every)] or [low]


def tick_text(value: float) -> str:
    """Write a number at an axis.

    >>> tick_text(1200.0), tick_text(0.25), tick_text(1e-05), tick_text(-0.0)
    ('1,200', '0.25', '1e-05', '0')
    """
    if value == int(value) and abs(value) < 1e6:
        return format_count(int(value))
    return f"{value:.6g}"
