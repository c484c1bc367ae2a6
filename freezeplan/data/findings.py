"""What is wrong with single rows, gathered so that a million bad rows take no more room than twenty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from freezeplan.tasks.flaws import Flaw

KEPT = 20


@dataclass
class FlawedRows:
    """Count the rows that share a flaw; of the first few, hold the number (from 1) and what is their own."""

    count: int = 0
    rows: list[int] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    advice: str = ""

    def add(self, row: int, detail: str) -> None:
        """Count one more row."""
        self.count += 1
        if len(self.rows) < KEPT:
            self.rows.append(row)
            self.details.append(detail)


class Flaws:
    """Gather flaws by what is wrong, in the order in which they are found; empty is false."""

    def __init__(self, found: Mapping[int, Flaw] | None = None) -> None:
        self._found: dict[str, FlawedRows] = {}
        for row, flaw in (found or {}).items():
            self.add(row, flaw)

    def add(self, row: int, flaw: Flaw) -> None:
        """Note what is wrong with a row, counted from 1."""
        self._found.setdefault(flaw.what, FlawedRows(advice=flaw.advice)).add(row, flaw.detail)

    def items(self) -> Iterator[tuple[str, FlawedRows]]:
        """Yield what is wrong, with the rows that share it."""
        yield from self._found.items()

    def rows(self) -> dict[int, Flaw]:
        """Return the rows that are kept, in their order, with what is wrong."""
        found = {
            row: Flaw(what, detail, kept.advice)
            for what, kept in self.items()
            for row, detail in zip(kept.rows, kept.details, strict=True)
        }
        return dict(sorted(found.items()))

    def __bool__(self) -> bool:
        return bool(self._found)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flaws) and self.rows() == other.rows()

    __hash__ = None  # type: ignore[assignment]
