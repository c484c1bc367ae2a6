"""Comparing what a page shows with what a command printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import unified_diff
from functools import partial

ROUNDING = 1e-12
DECIMAL = re.compile(r"\d+\.\d+(?:e[-+]?\d+)?|\d+e[-+]?\d+")


def assert_same_text(shown: str, printed: str, place: str, *, tolerance: float = 0.0) -> None:
    """Fail with a diff unless the printed text is what the page shows; ``...`` lines stand for any lines.

    Numbers with a decimal point or an exponent may differ by ``tolerance``: those below 1 that are written without an
    exponent (accuracies, losses) by as much, all others by that share of themselves. Whole numbers are exact.
    """
    wanted, got = _lines(shown), _lines(printed)
    if not _match(wanted, got, partial(_alike, tolerance) if tolerance else str.__eq__):
        diff = "\n".join(unified_diff(wanted, got, "the page", "what is printed", lineterm=""))
        raise AssertionError(f"{place}\n{diff}")


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").split("\n")] if text.strip() else []


def _match(wanted: Sequence[str], got: Sequence[str], same: Callable[[str, str], bool]) -> bool:
    if not wanted:
        return not got
    if wanted[0] == "...":
        return any(_match(wanted[1:], got[start:], same) for start in range(len(got) + 1))
    return bool(got) and same(wanted[0], got[0]) and _match(wanted[1:], got[1:], same)


def _alike(tolerance: float, shown: str, printed: str) -> bool:
    if DECIMAL.sub("#", shown) != DECIMAL.sub("#", printed):
        return False
    pairs = zip(DECIMAL.findall(shown), DECIMAL.findall(printed), strict=True)
    return all(_close(one, other, tolerance) for one, other in pairs)


def _close(shown: str, printed: str, tolerance: float) -> bool:
    one, other = float(shown), float(printed)
    scale = abs(one) if "e" in shown else max(1.0, abs(one))
    return abs(one - other) <= tolerance * scale + ROUNDING
