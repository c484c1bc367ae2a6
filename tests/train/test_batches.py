"""Laws of the order and the batches: permutations, pure in their arguments, fair between tasks."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.spec.tables import TrainTable
from freezeplan.train.batches import WINDOW, Course, Lengths, bucketed, order

SIZES = st.dictionaries(st.sampled_from(["topic", "mood", "tone"]), st.integers(1, 40), min_size=1)
IN_TURN, IN_SHARES = ("alternate", "joint"), ("proportional", "temperature")


def tables(mixings: Sequence[str]) -> st.SearchStrategy[TrainTable]:
    """Draw settings of some mixings."""
    return st.builds(
        TrainTable,
        epochs=st.integers(1, 4),
        batch_size=st.integers(1, 9),
        accumulation=st.integers(1, 4),
        mixing=st.sampled_from(mixings),
        temperature=st.floats(1, 9),
        seed=st.integers(0, 2**40),
    )


@st.composite
def courses(draw: st.DrawFn, mixings: Sequence[str] = (*IN_TURN, *IN_SHARES)) -> Course:
    """Draw a course; some of its tasks have rows of various lengths, some batches of their own size."""
    sizes = draw(SIZES)
    lengths = {
        name: Lengths(tuple(draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))))
        for name, size in sizes.items()
        if draw(st.booleans())
    }
    own = {name: draw(st.integers(1, 9)) for name in sizes if draw(st.booleans())}
    return Course(sizes, draw(tables(mixings)), own, draw(st.integers(0, 3)), lengths=lengths)


COURSES = courses()


def rows_of(course: Course, task: str, epoch: int) -> list[int]:
    """Return the rows of a task that an epoch takes, in their order."""
    return [row for parts in course.epoch_parts(epoch) for p in parts if p.task == task for row in p.rows]


def batches_of(course: Course, epoch: int) -> Counter[str]:
    """Count the batches of each task in an epoch."""
    return Counter(part.task for parts in course.epoch_parts(epoch) for part in parts)


@given(st.integers(0, 2**40), st.text(max_size=5), st.integers(0, 9), st.integers(0, 50))
def test_order_is_a_permutation_and_a_pure_function(seed: int, task: str, number: int, size: int) -> None:
    first = order(seed, task, number, size).tolist()
    order(seed + 1, task, number, size)
    assert order(seed, task, number, size).tolist() == first
    assert sorted(first) == list(range(size))


def test_orders_are_those_that_python_shuffles() -> None:
    rows = list(range(1000))
    random.Random("13/topic/2").shuffle(rows)
    assert order(13, "topic", 2, 1000).tolist() == rows


def test_batches_by_length_are_those_of_the_definition() -> None:
    lengths, batch = [(7 * row) % 23 for row in range(1003)], 4
    rows = order(13, "topic", 1, 1003).tolist()
    full, found = 1000, []
    for start in range(0, full, WINDOW * batch):
        window = sorted(rows[start : min(start + WINDOW * batch, full)], key=lengths.__getitem__)
        found += [window[first : first + batch] for first in range(0, len(window), batch)]
    random.Random("13/topic/1/batches").shuffle(found)
    assert cut(bucketed(13, "topic", 1, batch, lengths), batch) == [tuple(r) for r in [*found, rows[full:]]]


def cut(rows: numpy.ndarray, batch: int) -> list[tuple[int, ...]]:
    """Return the batches of a pass."""
    return [tuple(rows[start : start + batch].tolist()) for start in range(0, len(rows), batch)]


def test_a_course_keeps_one_pass_of_each_task() -> None:
    course = Course({"a": 7, "b": 3}, TrainTable(epochs=4, batch_size=2))
    for epoch in range(4):
        assert len(list(course.epoch_parts(epoch))) == course.steps_per_epoch
    assert {name: rows.nbytes for name, (_, rows) in course._passes.items()} == {"a": 28, "b": 12}


def test_order_depends_on_the_seed_the_task_and_the_pass() -> None:
    orders = {
        tuple(order(seed, task, number, 20)) for seed in (0, 1) for task in ("a", "b") for number in (0, 1)
    }
    assert len(orders) == 8


@given(st.lists(st.integers(1, 99), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 9))
def test_batches_by_length_hold_neighbours_and_the_short_one_comes_last(
    lengths: list[int], batch: int, number: int
) -> None:
    found = cut(bucketed(13, "topic", number, batch, lengths), batch)
    assert sorted(row for rows in found for row in rows) == list(range(len(lengths)))
    full = [rows for rows in found if len(rows) == batch]
    assert full == found[: len(lengths) // batch]
    spans = sorted((min(lengths[row] for row in rows), max(lengths[row] for row in rows)) for rows in full)
    if len(full) <= WINDOW:
        assert all(high <= low for (_, high), (low, _) in itertools.pairwise(spans))
    assert cut(bucketed(13, "topic", number, batch, lengths), batch) == found


def test_batches_by_length_come_in_another_order_in_each_pass() -> None:
    passes = {tuple(cut(bucketed(13, "topic", number, 4, range(60)), 4)) for number in range(4)}
    assert len(passes) == 4
    assert all([rows[0] for rows in found] != sorted(rows[0] for rows in found) for found in passes)


@given(courses(IN_TURN))
def test_an_epoch_in_turn_is_one_pass_over_the_task_with_the_most_batches(course: Course) -> None:
    longest = max(course.sizes, key=course.batches_per_pass)
    for epoch in range(course.train.epochs):
        assert sorted(rows_of(course, longest, epoch)) == list(range(course.sizes[longest]))


@given(courses(["proportional"]))
def test_an_epoch_in_proportion_takes_every_row_of_every_task_once(course: Course) -> None:
    for epoch in range(course.train.epochs):
        for task, size in course.sizes.items():
            assert sorted(rows_of(course, task, epoch)) == list(range(size))


@given(courses(["temperature"]))
def test_an_epoch_by_temperature_is_as_long_and_shares_its_rows_by_the_root(course: Course) -> None:
    assert course.train.temperature is not None
    whole = sum(course.batches_per_pass(task) for task in course.sizes)
    for epoch in range(course.train.epochs):
        assert (found := batches_of(course, epoch)).total() == whole
        assert found == course.batches_per_epoch and min(found.values()) >= 1


@given(courses(["temperature"]))
def test_a_temperature_of_one_is_in_proportion(course: Course) -> None:
    found = replace(course, train=course.train.model_copy(update={"temperature": 1.0}))
    assert found.batches_per_epoch == {task: course.batches_per_pass(task) for task in course.sizes}


def test_batches_by_temperature_are_those_worked_out_by_hand() -> None:
    def batches(temperature: float, **own: int) -> list[int]:
        train = TrainTable(batch_size=10, mixing="temperature", temperature=temperature)
        return list(Course({"a": 900, "b": 100, "c": 1}, train, own).batches_per_epoch.values())

    # 101 batches of ten rows, in the proportions of the roots: 30, 10 and 1.
    assert batches(2.0) == [74, 25, 2]
    # All alike, but for two batches that go to those that come first.
    assert batches(1e9) == [34, 34, 33]
    # Batches of one row: ten times as many for the same share of rows.
    assert batches(1e9, c=1) == [9, 8, 84]


@given(courses(IN_SHARES))
def test_the_tasks_of_an_epoch_come_in_another_order_in_each(course: Course) -> None:
    def order_of(epoch: int, phase: int) -> list[str]:
        return [parts[0].task for parts in replace(course, phase=phase, batch_sizes={}).epoch_parts(epoch)]

    whole = sorted(order_of(0, 0))
    found = [order_of(epoch, phase) for epoch in range(4) for phase in range(4)]
    assert all(sorted(order) == whole for order in found)
    if len(set(whole)) > 1 and len(whole) > 12 and Counter(whole).most_common()[-1][1] > 2:
        assert len({tuple(order) for order in found}) > 1


@given(COURSES, st.data())
def test_what_steps_take_is_counted_without_taking_them(course: Course, data: st.DataObject) -> None:
    steps = data.draw(st.integers(0, course.steps_per_epoch * 3))
    taken = Counter(part.task for step in range(steps) for part in course.parts(step))
    assert {task: taken[task] for task in course.sizes} == course.batches(steps)
    if steps % course.steps_per_epoch == 0:
        epochs = steps // course.steps_per_epoch
        assert course.rows(steps) == pytest.approx(epochs * sum(course.rows_per_epoch.values()))


@given(COURSES)
def test_every_task_repeats_in_whole_passes(course: Course) -> None:
    for task, size in course.sizes.items():
        seen: list[int] = []
        for epoch in range(course.train.epochs):
            seen += rows_of(course, task, epoch)
        counts = Counter(seen)
        assert max(counts[row] for row in range(size)) - min(counts[row] for row in range(size)) <= 1


@given(courses(IN_TURN))
def test_steps_and_turns_are_counted_right(course: Course) -> None:
    batches = max(ceil(size / course.batch_size(task)) for task, size in course.sizes.items())
    for epoch in range(course.train.epochs):
        steps = list(course.epoch_parts(epoch))
        assert len(steps) == course.steps_per_epoch
        assert batches_of(course, epoch) == {task: batches for task in course.sizes}
        tasks_of_steps = [list(dict.fromkeys(part.task for part in parts)) for parts in steps]
        names = list(course.sizes)
        if course.train.mixing == "joint":
            assert tasks_of_steps == [names] * len(steps)
        else:
            assert tasks_of_steps == [[names[number % len(names)]] for number in range(len(steps))]
        assert course.epoch_end(epoch * course.steps_per_epoch) == (epoch + 1) * course.steps_per_epoch


@given(COURSES, st.data())
def test_any_step_can_be_computed_alone(course: Course, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, course.steps_per_epoch * course.train.epochs - 1))
    straight = [parts for epoch in range(course.train.epochs) for parts in course.epoch_parts(epoch)]
    assert replace(course).parts(step) == straight[step]
