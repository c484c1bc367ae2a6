"""What may be wrong with a task's targets as a whole, by what its columns hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from freezeplan.data.checks import (
    check_alike,
    check_classes,
    check_constant,
    check_known,
    check_measured,
    check_seen,
)
from freezeplan.data.reader import columns_of
from freezeplan.data.split import Split
from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import SHOWN_ROWS, counted
from freezeplan.spec.tables import Task
from freezeplan.tasks import task_kind


def check_outputs(task: Task, labels: Sequence[str], splits: Mapping[str, Split]) -> list[Diagnostic]:
    """Check the targets of all splits against the names of a task's outputs."""
    if task_kind(task).own_head:
        return []
    if not task_kind(task).rowwise:
        return [item for split in splits.values() for item in _contrasts(split)] + _alone(splits)
    roles = {wanted.role for wanted in columns_of(task).targets}
    return [item for role in sorted(roles) for item in CHECKS[role](task, labels, splits)]


def _contrasts(split: Split) -> list[Diagnostic]:
    """Report rows whose third text is the first or the second one: it cannot be far from itself."""
    anchors, positives, *negatives = (column.keys() for column in split.inputs.columns)
    rows = [
        int(row) + 1 for keys in negatives for row in ((keys == anchors) | (keys == positives)).nonzero()[0]
    ]
    if not rows:
        return []
    where = split.places.phrase(rows[:SHOWN_ROWS], len(rows))
    message = f"`{split.source}` has a negative that is the text or its positive in {where}"
    return [split.report("FP458", message, help="give these rows another third text, or take them out")]


def _alone(splits: Mapping[str, Split]) -> list[Diagnostic]:
    """Report training data of one pair: its positive stands alone, and nothing is learned."""
    train = splits.get("train")
    if train is None or len(train) > 1 or len(train.inputs.columns) > 2:
        return []
    message = f"`{train.source}` has one pair of texts: there is nothing to tell its positive from"
    return [train.report("FP460", message, help="give two pairs or more")]


def _classes(task: Task, labels: Sequence[str], splits: Mapping[str, Split]) -> list[Diagnostic]:
    found = _names(task, labels, splits)
    train = splits.get("train")
    if train is not None and not task.labels and task.data is not None:
        found += check_measured(labels, task.data.label[0], train.source, train.report)
    if splits:
        found += check_alike(labels, next(iter(splits.values())).report)
    return found


def _unknown(task: Task, labels: Sequence[str], splits: Mapping[str, Split]) -> list[Diagnostic]:
    """Report labels in the data that are none of the task's."""
    return [
        item
        for split in splits.values()
        if labels
        for item in check_known(
            split.targets[0], labels, split.source, split.places, bool(task.labels), split.report
        )
    ]


def _names(task: Task, labels: Sequence[str], splits: Mapping[str, Split]) -> list[Diagnostic]:
    """Report labels that are unknown, or else those that no training row has."""
    found, train, declared = _unknown(task, labels, splits), splits.get("train"), bool(task.labels)
    # Labels that are not known are the cause of those that are missing.
    if train is not None and not (declared and found):
        found += check_classes(train.targets[0].names, labels, declared, train.source, train.report)
    return found


def _numbers(task: Task, labels: Sequence[str], splits: Mapping[str, Split]) -> list[Diagnostic]:
    found = [item for split in splits.values() for item in _scores(task, split)]
    train = splits.get("train")
    if found or train is None:
        return found
    return [
        item
        for name, column in zip(labels, train.targets, strict=True)
        for item in check_constant(column.numbers, name, train.source, train.report)
    ]


def _scores(task: Task, split: Split) -> list[Diagnostic]:
    """Report scores of a similarity that no cosine can be."""
    if "max_score" not in task_kind(task).own_keys:
        return []
    most, numbers = task.max_score or 1.0, split.targets[0].numbers
    rows = [int(row) + 1 for row in (abs(numbers) > most).nonzero()[0]]
    if not rows:
        return []
    where = split.places.phrase(rows[:SHOWN_ROWS], len(rows))
    message = f"`{split.source}` has scores beyond max_score = {most:g} in {where}"
    advice = (
        f"write max_score = {abs(numbers).max():g} in the task, if that is the score of the same text twice"
    )
    return [split.report("FP458", message, help=advice)]


def _label_lists(task: Task, labels: Sequence[str], splits: Mapping[str, Split]) -> list[Diagnostic]:
    found = _unknown(task, labels, splits)
    train = splits.get("train")
    if train is not None and not found:
        found += check_seen(train.targets[0].names, labels, train.source, train.report)
    if splits:
        found += check_alike(labels, next(iter(splits.values())).report)
    return found


def _tags(task: Task, labels: Sequence[str], splits: Mapping[str, Split]) -> list[Diagnostic]:
    found = [item for split in splits.values() for item in check_word_counts(split)]
    return found or _names(task, labels, splits)


def check_word_counts(split: Split) -> list[Diagnostic]:
    """Report rows whose words and tags are not as many."""
    words, tags = split.inputs.counts, split.targets[0].counts
    rows = [int(row) + 1 for row in (words != tags).nonzero()[0]]
    if not rows:
        return []
    first = rows[0] - 1
    where = split.places.phrase(rows[:SHOWN_ROWS], len(rows))
    message = f"`{split.source}` has another number of tags than of words in {where}"
    note = f"{split.places.place(rows[0])}: {counted(words[first], 'word')}, {counted(tags[first], 'tag')}"
    return [split.report("FP458", message, help="give each word one tag", notes=[note])]


def _flags(task: Task, labels: Sequence[str], splits: Mapping[str, Split]) -> list[Diagnostic]:
    train = splits.get("train")
    if train is None:
        return []
    named = zip(labels, train.targets, strict=True)
    return check_seen(
        [name for name, column in named if column.flags.any()], labels, train.source, train.report
    )


CHECKS: Mapping[str, Callable[[Task, Sequence[str], Mapping[str, Split]], list[Diagnostic]]] = {
    "label": _classes,
    "labels": _label_lists,
    "flag": _flags,
    "number": _numbers,
    "tags": _tags,
}
