"""Rows that are read as they are needed: shuffled a buffer at a time, without end, from any row again."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

from freezeplan.data.formats.hub_set import streamed_hub_rows
from freezeplan.data.formats.row_source import Row, RowSource, Unreadable
from freezeplan.data.reader import HubSplit, Part, no_rows

ABREAST = 8
"""Files that are read at a time."""
WINDOW = 50
"""Batches among which rows of similar length come together."""


@dataclass(frozen=True)
class StreamedRow:
    """Hold one row: what it was read from, where it stands there, and its values."""

    part: Part
    line: int
    values: Sequence[Any]


Behind = Callable[[], Any]
"""The position behind a row, which can be asked for until the next row is."""


class Feed(Protocol):
    """Read all rows of some data once, a round, from any row on.

    A position is plain JSON; None is the beginning of a round. Each row comes with the position behind it.
    """

    parts: Sequence[Part]

    def rows(self, number: int, at: Any) -> Iterator[tuple[StreamedRow, Behind]]:
        """Yield the rows of round ``number`` from a position on; raises ``Unreadable``."""


@dataclass
class _Begun:
    """Hold a file that is being read: its place in the order of a round, and how many of its rows were taken."""

    place: int
    count: int
    part: Part
    rows: Iterator[Row]


@dataclass(frozen=True)
class FileFeed:
    """Read the columns ``names`` of some files, in each round in another order of files.

    Several files are read abreast, a row of each in turn, so that rows of one file do not come all together. To go on
    within a file, it is read from its beginning: smaller files resume faster.
    """

    parts: Sequence[Part]
    names: Sequence[str]
    seed: str

    def rows(self, number: int, at: Any) -> Iterator[tuple[StreamedRow, Behind]]:
        """Yield the rows of a round; a position holds the files that were begun, and how many were."""
        order = list(range(len(self.parts)))
        random.Random(f"{self.seed}/{number}/files").shuffle(order)
        started, following = at or ((), 0)
        begun = deque(self._begun(order, *item) for item in started)

        def behind() -> Any:
            return [[[file.place, file.count] for file in begun], following]

        while begun or following < len(order):
            while len(begun) < ABREAST and following < len(order):
                begun.append(self._begun(order, following, 0))
                following += 1
            file = begun.popleft()
            for line, values in islice(file.rows, 1):
                file.count += 1
                begun.append(file)
                yield StreamedRow(file.part, line, values), behind

    def _begun(self, order: Sequence[int], place: int, count: int) -> _Begun:
        part = self.parts[order[place]]
        return _Begun(place, count, part, islice(part.rows(self.names, {}), count, None))


@dataclass(frozen=True)
class HubFeed:
    """Read the columns ``names`` of a split of a hub dataset as they are fetched, in the order of its files."""

    parts: tuple[HubSplit]
    names: Sequence[str]

    def rows(self, number: int, at: Any) -> Iterator[tuple[StreamedRow, Behind]]:
        """Yield the rows of a round; ``datasets`` says the position."""
        (part,) = self.parts
        for (line, values), behind in hub_rows_of(part, self.names, {}, at):
            yield StreamedRow(part, line, values), partial(list, behind)


def hub_rows_of(
    part: HubSplit, names: Sequence[str], present: dict[str, None], at: Any = None
) -> Iterator[tuple[Row, Any]]:
    """Yield the rows of a split of a hub dataset, fetched as they are needed; its columns go into ``present``."""
    source = RowSource(partial(open, part.name, "rb"), part.name, names, present)
    yield from streamed_hub_rows(source, part.hub, part.subset, part.split, at)


@dataclass(frozen=True)
class RowOrder:
    """Say in which order rows come: the ``seed``, with the task's name in it, and how many are shuffled at a time.

    ``batch`` is the number of rows in a batch; with ``lengths``, of the first ``inputs`` values, batches hold rows of
    similar length.
    """

    seed: str
    buffer: int
    batch: int
    inputs: int = 1
    lengths: bool = True

    def arranged(self, rows: list[StreamedRow], block: StreamBlock) -> list[StreamedRow]:
        """Return the rows of a block in their order, each once; it depends on nothing but the block's place."""
        chance = random.Random(f"{self.seed}/{block.round}/{block.number}")
        chance.shuffle(rows)
        if not self.lengths:
            return rows
        # Batches are cut from the rows of all blocks, one after the other: this one begins within one.
        begun = -block.start % self.batch
        full = begun + (len(rows) - begun) // self.batch * self.batch
        step = WINDOW * self.batch
        batches = [
            batch
            for start in range(begun, full, step)
            for batch in self._alike(rows[start : min(start + step, full)])
        ]
        chance.shuffle(batches)
        return [*rows[:begun], *(row for batch in batches for row in batch), *rows[max(full, begun) :]]

    def _alike(self, rows: list[StreamedRow]) -> list[list[StreamedRow]]:
        rows = sorted(rows, key=self._length)
        return [rows[start : start + self.batch] for start in range(0, len(rows), self.batch)]

    def _length(self, row: StreamedRow) -> int:
        return sum(len(value) for value in row.values[: self.inputs] if isinstance(value, (str, list)))


@dataclass
class StreamBlock:
    """Hold some rows in their order, and where they come from.

    ``start`` counts all rows before it, ``before`` those of its round, ``number`` the blocks of its round.
    """

    start: int = 0
    round: int = 0
    number: int = 0
    before: int = 0
    at: Any = None
    digest: str | None = None
    rows: list[StreamedRow] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The rows before the next block."""
        return self.start + len(self.rows)

    def record(self) -> dict[str, Any]:
        """Return its place as plain JSON."""
        return {name: getattr(self, name) for name in ("start", "round", "number", "before", "at", "digest")}


class Changed(Exception):
    """Say that rows are not those that were read before."""


class RowStream:
    """Give the rows of a feed by their numbers, counted from 0 over all rounds, one after the other.

    Which row a number means depends on the order's seed and on the data alone. Held are the rows of one block, or of
    two where those that are asked for lie in both. ``size`` is the number of rows of a round, None until one has
    ended.

    >>> from freezeplan.data.files import CSV
    >>> class Numbers:
    ...     parts = ()
    ...     def rows(self, number, at):
    ...         for row in range(at or 0, 5):
    ...             yield StreamedRow(None, row, [row]), lambda: row + 1
    >>> stream = RowStream(Numbers(), RowOrder("13/topic", buffer=3, batch=2, lengths=False))
    >>> rows = [row.line for row in stream.take(0, 10)]
    >>> sorted(rows[:5]), sorted(rows[5:])
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    >>> again = RowStream(Numbers(), RowOrder("13/topic", buffer=3, batch=2, lengths=False))
    >>> [row.line for row in again.take(4, 7)] == rows[4:7]
    True
    """

    def __init__(self, feed: Feed, order: RowOrder) -> None:
        self.feed, self.order = feed, order
        self.size: int | None = None
        self._begin(StreamBlock())

    def _begin(self, block: StreamBlock) -> None:
        """Go to the beginning of a block."""
        self.close()
        self._blocks: deque[StreamBlock] = deque()
        self._next, self.asked = block, block.start
        self._rows: Iterator[tuple[StreamedRow, Behind]] | None = None

    def take(self, first: int, last: int) -> list[StreamedRow]:
        """Return the rows from number ``first`` up to ``last``; those before a block that is held are read again.

        Raises ``Unreadable`` where the data cannot be read, or hold no row (FP454).
        """
        if first < (self._blocks[0].start if self._blocks else self._next.start):
            self._begin(StreamBlock())
        while self._next.start < last:
            self._drop(first)
            self._blocks.append(self._read())
        self._drop(first)
        self.asked = last
        return [
            row
            for block in self._blocks
            for row in block.rows[max(0, first - block.start) : max(0, last - block.start)]
        ]

    def first_block(self) -> int:
        """Read the first rows, and return how many are held."""
        self.take(0, 1)
        return self._blocks[0].end

    def mark(self) -> dict[str, Any]:
        """Return as plain JSON where the row stands that was not asked for yet: what :meth:`seek` goes back to."""
        block = next((block for block in self._blocks if block.end > self.asked), self._next)
        return {**block.record(), "asked": self.asked, "size": self.size}

    def seek(self, mark: Mapping[str, Any]) -> None:
        """Go to a mark without reading what is before it; raises :class:`Changed`, or ``Unreadable``."""
        self.size = mark["size"]
        place = {name: mark[name] for name in ("start", "round", "number", "before", "at")}
        self._begin(StreamBlock(**place))
        if mark["digest"] is not None:
            self._blocks.append(self._read())
            if self._blocks[0].digest != mark["digest"]:
                raise Changed
        self.asked = mark["asked"]

    def close(self) -> None:
        """Let go of open files; a row that is asked for later opens them again."""
        rows = getattr(self, "_rows", None)
        if rows is not None:
            rows.close()
        self._rows = None

    def _drop(self, first: int) -> None:
        while self._blocks and self._blocks[0].end <= first:
            self._blocks.popleft()

    def _read(self) -> StreamBlock:
        """Read the next block; at the end of a round, the first of the next one."""
        block, digest = self._next, hashlib.sha256()
        if self._rows is None:
            self._rows = self.feed.rows(block.round, block.at)
        found = list(islice(self._rows, self.order.buffer))
        for row, _ in found:
            _add(digest, [row.line, *row.values])
        count = len(found)
        if count < self.order.buffer:
            self.size = block.before + count
            if not self.size:
                raise no_rows(self.feed.parts[0]) if self.feed.parts else Unreadable("FP454", "no rows")
            self._rows = None
            self._next = StreamBlock(block.start + count, block.round + 1)
        else:
            at = found[-1][1]()
            self._next = StreamBlock(
                block.start + count, block.round, block.number + 1, block.before + count, at
            )
        block.digest = digest.hexdigest()
        block.rows = self.order.arranged([row for row, _ in found], block)
        return block if count else self._read()


def _add(digest: Any, value: Any) -> None:
    """Add a value to a hash; what an image file holds is not written out for that."""
    if isinstance(value, (bytes, bytearray)):
        digest.update(value)
    elif isinstance(value, (list, tuple, dict)):
        digest.update(f"{type(value).__name__} {len(value)}".encode())
        for item in value.items() if isinstance(value, dict) else value:
            _add(digest, item)
    else:
        digest.update(repr(value).encode("utf-8", "surrogatepass"))
