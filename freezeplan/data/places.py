"""Where the rows of a table stand: in which file, in which line."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from freezeplan.diagnostics.wording import SHOWN_ROWS

ROW = "row"


@dataclass
class FilePlaces:
    """Hold where the rows of one file stand; ``unit`` is what its numbers count, ``line`` or ``row``.

    As long as each row stands one further than the row before, ``lines`` is empty and ``first`` says it all. Where a
    line holds several rows (an array on one line), lines tell nothing, and the rows are counted.
    """

    name: str
    unit: str
    start: int
    count: int = 0
    first: int = 1
    lines: array[int] = field(default_factory=lambda: array("I"))

    def add(self, line: int) -> None:
        """Note where the next row stands."""
        if self.unit != ROW:
            self._add_line(line)
        self.count += 1

    def _add_line(self, line: int) -> None:
        if not self.count:
            self.first = line
        elif not self.lines and line != self.first + self.count:
            self.lines.extend(range(self.first, self.first + self.count))
        if self.lines and line == self.lines[-1]:
            self.unit, self.first = ROW, 1
            del self.lines[:]
        elif self.lines:
            self.lines.append(line)

    def line(self, row: int) -> int:
        """Return where a row of the file stands, counted from 0 within it."""
        return self.lines[row] if self.lines else self.first + row


@dataclass(frozen=True)
class Places:
    """Hold where all rows of a table stand, which may come from several files."""

    files: Sequence[FilePlaces]

    def phrase(self, rows: Sequence[int], count: int | None = None) -> str:
        """Name rows (counted from 1 in the table) in words, the first few of ``count``.

        >>> file = FilePlaces("a.csv", "line", 0, count=9, first=2)
        >>> Places([file]).phrase([3]), Places([file]).phrase([3, 7]), Places([file]).phrase([1, 2, 3, 4, 5, 6], 8)
        ('line 4', 'lines 4 and 8', 'lines 2, 3, 4, 5, 6 and 3 more')
        """
        count = len(rows) if count is None else count
        shown = rows[:SHOWN_ROWS]
        more = f"{count - len(shown)} more" if count > len(shown) else ""
        if len(self.files) > 1:
            return _joined([self.place(row) for row in shown], more)
        unit = self.files[0].unit + ("s" if count > 1 else "")
        return f"{unit} {_joined([str(self._found(row)[1]) for row in shown], more)}"

    def place(self, row: int) -> str:
        """Name one row, with its file where there are several."""
        file, line = self._found(row)
        return f"{file.unit} {line}" + (f" of `{file.name}`" if len(self.files) > 1 else "")

    def _found(self, row: int) -> tuple[FilePlaces, int]:
        file = self.files[bisect_right([file.start for file in self.files], row - 1) - 1]
        return file, file.line(row - 1 - file.start)


def _joined(names: Sequence[str], more: str) -> str:
    *before, last = [*names, *([more] if more else [])]
    return f"{', '.join(before)} and {last}" if before else last
