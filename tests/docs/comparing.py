"""Comparing what a page shows with what a command printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import unified_diff

DECIMAL = re.compile(r"\d+\.\d+(?:e[-+]?\d+)?")
RELATIVE, ABSOLUTE = 0.1, 0.06


def assert_same_text(shown: str, printed: str, place: str, *, approximately: bool = False) -> None:
    """Fail with a diff unless the printed text is what the page shows; ``...`` lines stand for any lines."""
    wanted, got = _lines(shown), _lines(printed)
    if not _match(wanted, got, _alike if approximately else str.__eq__):
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


def _alike(shown: str, printed: str) -> bool:
    if DECIMAL.sub("#", shown) != DECIMAL.sub("#", printed):
        return False
    pairs = zip(DECIMAL.findall(shown), DECIMAL.findall(printed), strict=True)
    return all(_close(float(one), float(other)) for one, other in pairs)


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= max(ABSOLUTE, RELATIVE * abs(one))
