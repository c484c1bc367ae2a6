"""The log of a run as lines over its steps: losses, validation metrics, rates, and where phases end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from freezeplan.diagnostics.wording import format_count
from freezeplan.render.rows import MASKED
from freezeplan.report.folder import whole
from freezeplan.report.records import EpochScores, Point, RunCourse, Series, TaskCourse
from freezeplan.report.thinning import MOST_POINTS, bucket_means, thinned_rates

Record = Mapping[str, Any]
SHOWN_GROUPS = 3


def course_of(log: Sequence[Record], current: str) -> RunCourse | None:
    """Return what a log says over the steps, None where it says nothing.

    ``current`` is the phase that the run was in when it was saved last. Raises ``KeyError``, ``TypeError`` and
    ``ValueError`` for records of another form.
    """
    placed = list(_placed(log))
    if not placed:
        return None
    ended = [(whole(item["step"]), str(item["phase"])) for _, item in placed if item["kind"] == "phase"]
    names = [*(name for _, name in ended), current]
    return RunCourse(
        steps=max((whole(item.get("step", 0)) for _, item in placed), default=0),
        boundaries=tuple(ended),
        tasks=tuple(_task(name, placed, names) for name in _tasks(placed)),
        rates=tuple(_rates(placed)),
        score=tuple(_score(placed)),
    )


def _placed(log: Iterable[Record]) -> Iterator[tuple[int, Record]]:
    """Yield each record with how many phases were over before it."""
    over = 0
    for item in log:
        yield over, item
        over += item["kind"] == "phase"


Placed = Sequence[tuple[int, Record]]


def _tasks(placed: Placed) -> list[str]:
    found: dict[str, None] = {}
    for _, item in placed:
        found |= dict.fromkeys([*item.get("losses", {}), *_validation(item)])
    return list(found)


def _validation(item: Record) -> Record:
    if item["kind"] == "epoch":
        return item["validation"]  # type: ignore[no-any-return]
    told = item["kind"] == "evaluation" and item["split"] == "validation"
    return item["scores"] if told else {}


def _task(name: str, placed: Placed, phases: Sequence[str]) -> TaskCourse:
    steps = [item for _, item in placed if item["kind"] == "step" and name in item["losses"]]
    points = [(whole(item["step"]), float(item["losses"][name])) for item in steps]
    every = max(1, -(-len(points) // MOST_POINTS))
    epochs = tuple(_epochs(name, placed, phases))
    return TaskCourse(name, bucket_means(points, every), every, epochs)


def _epochs(name: str, placed: Placed, phases: Sequence[str]) -> Iterator[EpochScores]:
    step = 0
    for over, item in placed:
        step = whole(item.get("step", step))
        scores = _validation(item)
        losses = item["losses"] if item["kind"] == "epoch" else {}
        if name in scores or name in losses:
            loss = float(losses[name]) if name in losses else None
            metrics = tuple((str(key), float(value)) for key, value in scores.get(name, {}).items())
            yield EpochScores(whole(item["epoch"]), step, phases[over], loss, metrics)


def _score(placed: Placed) -> Iterator[Point]:
    for _, item in placed:
        if item["kind"] == "epoch" and "score" in item:
            yield whole(item["step"]), float(item["score"])


def _rates(placed: Placed) -> Iterator[Series]:
    """Yield a line for each different course of rates, under the names of the groups that have it."""
    alike: dict[tuple[tuple[Point, ...], ...], list[str]] = {}
    for name, parts in _parts(placed).items():
        alike.setdefault(tuple(map(tuple, parts)), []).append(name)
    for parts, names in alike.items():
        yield Series(_joined(names), tuple(thinned_rates(part) for part in parts))


def _parts(placed: Placed) -> dict[str, list[list[Point]]]:
    """Return the points of each group, a new part wherever a phase begins or the group was frozen in between."""
    found: dict[str, list[list[Point]]] = {}
    last: dict[str, tuple[int, int]] = {}
    steps = [(over, item) for over, item in placed if item["kind"] == "step"]
    for number, (over, item) in enumerate(steps):
        for name, rate in item["rates"].items():
            if last.get(name) != (over, number - 1):
                found.setdefault(name, []).append([])
            found[name][-1].append((whole(item["step"]), float(rate)))
            last[name] = (over, number)
    return found


def _joined(names: Sequence[str]) -> str:
    """Name groups that go alike: a group and its twin without decay are one, a ladder is its ends.

    >>> _joined(["top", "top/no_decay"]), _joined(["a", "b", "c", "d"])
    ('top', 'a, b, c and 1 more')
    """
    own = list(dict.fromkeys(MASKED.sub("", name) for name in names))
    more = len(own) - SHOWN_GROUPS
    shown = ", ".join(own[:SHOWN_GROUPS])
    return f"{shown} and {format_count(more)} more" if more > 0 else shown


def spans(boundaries: Sequence[tuple[int, str]], steps: int, current: str) -> list[tuple[int, int, str]]:
    """Return each phase that was run as its first and last step and its name, the current one included.

    >>> spans([(10, "heads")], 30, "top")
    [(0, 10, 'heads'), (10, 30, 'top')]
    """
    ends = [0, *(step for step, _ in boundaries)]
    found = [(start, end, name) for (start, end), (_, name) in zip(pairwise(ends), boundaries, strict=True)]
    return [*found, *([(ends[-1], steps, current)] if boundaries and steps > ends[-1] else [])]
