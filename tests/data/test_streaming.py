"""The order of streamed rows: a function of the seed and the data alone, each row once a round, from any row again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.data.files import DataFile, data_files
from freezeplan.data.formats.row_source import Unreadable
from freezeplan.data.streaming import Changed, FileFeed, RowOrder, RowStream, StreamedRow
from tests.train.tiny import write_jsonl


@dataclass
class Numbers:
    """Rows that are numbers, in files of some sizes."""

    count: int
    more: int = 0
    parts: tuple[Any, ...] = ()
    read: int = 0

    def rows(self, number: int, at: Any) -> Iterator[tuple[StreamedRow, Any]]:
        for row in range(at or 0, self.count):
            self.read += 1
            yield StreamedRow(None, row, ["x" * ((row + self.more) * 7 % 5)]), partial(int, row + 1)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Numbers, RowOrder]:
    buffer, batch = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    seed, lengths = draw(st.sampled_from(["1/a", "2/a"])), draw(st.booleans())
    return Numbers(draw(st.integers(1, 20))), RowOrder(seed, buffer, batch, lengths=lengths)


def lines(stream: RowStream, first: int, last: int) -> list[int]:
    return [row.line for row in stream.take(first, last)]


@given(streams(), st.integers(1, 3))
def test_every_row_comes_once_a_round(made: tuple[Numbers, RowOrder], rounds: int) -> None:
    feed, order = made
    stream = RowStream(feed, order)
    found = lines(stream, 0, feed.count * rounds)
    for start in range(0, len(found), feed.count):
        assert sorted(found[start : start + feed.count]) == list(range(feed.count))


@given(streams(), st.lists(st.integers(1, 7), max_size=8))
def test_the_order_does_not_depend_on_how_rows_are_asked_for(
    made: tuple[Numbers, RowOrder], steps: list[int]
) -> None:
    feed, order = made
    stream, found, first = RowStream(feed, order), [], 0
    for count in steps:
        found += lines(stream, first, first + count)
        first += count
    assert found == lines(RowStream(feed, order), 0, first)


@given(streams(), st.integers(0, 50), st.integers(1, 9))
def test_a_stream_goes_on_from_a_mark_as_if_never_stopped(
    made: tuple[Numbers, RowOrder], before: int, count: int
) -> None:
    feed, order = made
    whole = lines(RowStream(feed, order), 0, before + count)
    stopped = RowStream(feed, order)
    stopped.take(max(0, before - 3), before)
    mark = json.loads(json.dumps(stopped.mark()))
    feed.read = 0
    resumed = RowStream(feed, order)
    resumed.seek(mark)
    assert resumed.mark() == mark
    assert lines(resumed, before, before + count) == whole[before:]
    # No more is read again than the block that the mark is in.
    assert feed.read <= order.buffer * (2 + count) + 2 * feed.count


@given(streams(), st.integers(0, 12))
def test_rows_before_the_mark_are_found_from_the_beginning(made: tuple[Numbers, RowOrder], back: int) -> None:
    feed, order = made
    stream = RowStream(feed, order)
    whole = lines(stream, 0, 25)
    assert lines(stream, back, back + 3) == whole[back : back + 3]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataFile, ...]:
    """Return twelve files of 0 to 6 rows: more than are read abreast."""
    folder = tmp_path_factory.mktemp("files")
    for number in range(12):
        rows = [{"x": f"{number}/{row}"} for row in range(number * 5 % 7)]
        write_jsonl(folder / f"{number}.jsonl", rows)
    return data_files([str(folder / "*.jsonl")], folder)


@given(st.integers(1, 12), st.integers(0, 80))
def test_files_are_read_abreast_and_go_on_from_any_row(
    files: tuple[DataFile, ...], buffer: int, before: int
) -> None:
    feed, order = FileFeed(files, ["x"], "1/a"), RowOrder("1/a", buffer, 2)
    values = [row.values[0] for row in RowStream(feed, order).take(0, before + 36)]
    everything = {f"{number}/{row}" for number in range(12) for row in range(number * 5 % 7)}
    assert (set(values[:36]), len(everything)) == (everything, 36)
    stopped, resumed = RowStream(feed, order), RowStream(feed, order)
    stopped.take(0, before)
    resumed.seek(json.loads(json.dumps(stopped.mark())))
    assert [row.values[0] for row in resumed.take(before, before + 36)] == values[before:]


def test_rows_of_several_files_come_in_turn_and_rounds_begin_with_others(files: tuple[DataFile, ...]) -> None:
    first = [
        [row.part.name for row, _ in FileFeed(files, ["x"], "1/a").rows(number, None)] for number in (0, 1)
    ]
    assert len(set(first[0][:5])) > 3
    assert first[0] != first[1]


def test_batches_hold_rows_of_similar_length_also_behind_the_end_of_a_round() -> None:
    order = RowOrder("1/a", buffer=12, batch=3)
    stream = RowStream(Numbers(10), order)
    sorted_widths = []
    for step in range(10):
        rows = stream.take(3 * step, 3 * step + 3)
        widths = [len(row.values[0]) for row in rows]
        sorted_widths.append(max(widths) - min(widths))
    unsorted = RowStream(Numbers(10), RowOrder("1/a", buffer=12, batch=3, lengths=False))
    spread = [
        max(found) - min(found)
        for step in range(10)
        for found in [[len(row.values[0]) for row in unsorted.take(3 * step, 3 * step + 3)]]
    ]
    assert sum(sorted_widths) < sum(spread)


def test_another_round_another_seed_and_another_block_have_another_order() -> None:
    order = RowOrder("1/a", buffer=50, batch=2, lengths=False)
    found = lines(RowStream(Numbers(50), order), 0, 100)
    assert found[:50] != found[50:]
    assert found != lines(RowStream(Numbers(50), RowOrder("2/a", 50, 2, lengths=False)), 0, 100)
    small = lines(RowStream(Numbers(50), RowOrder("1/a", 25, 2, lengths=False)), 0, 50)
    assert [row - 25 for row in small[25:]] != small[:25]


def test_rows_that_changed_under_a_mark_are_refused() -> None:
    order = RowOrder("1/a", buffer=8, batch=2)
    stream = RowStream(Numbers(20), order)
    stream.take(0, 10)
    with pytest.raises(Changed):
        RowStream(Numbers(20, more=1), order).seek(stream.mark())


def test_data_without_rows_are_said_to_be_so() -> None:
    with pytest.raises(Unreadable) as caught:
        RowStream(Numbers(0), RowOrder("1/a", 4, 2)).take(0, 1)
    assert caught.value.code == "FP454"
