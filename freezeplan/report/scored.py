"""The scores of a run: its metrics on every split, and each class with what is taken for what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from freezeplan.render.scores import CONFUSION, ONE, TITLES
from freezeplan.report.folder import whole
from freezeplan.report.records import ClassRow, ClassScores, FinalScore

Record = Mapping[str, Any]
SPLITS = ("validation", "test")


def final_scores(marker: Record, full: Record | None) -> tuple[FinalScore, ...]:
    """Return the metrics that ``run.json`` holds, or ``scores.json`` alone, with the rows that they are of."""
    found, full = marker.get("scores", {}), full or {}
    splits = [split for split in SPLITS if split in found or split in full]
    return tuple(
        item for split in splits for item in _of_split(split, found.get(split, {}), full.get(split, {}))
    )


def _of_split(split: str, found: Record, full: Record) -> Iterator[FinalScore]:
    metrics = found.get("scores") or {task: item["metrics"] for task, item in full.items()}
    for task, values in metrics.items():
        rows = full[task]["rows"] if task in full else None
        for metric, value in values.items():
            yield FinalScore(split, task, metric, float(value), None if rows is None else whole(rows))
    if "score" in found:
        yield FinalScore(split, "all", "score", float(found["score"]), None)


def class_scores(full: Record | None) -> tuple[ClassScores, ...]:
    """Return the scores of each class, label or type that ``scores.json`` holds, task by task."""
    splits = [split for split in SPLITS if split in (full or {})]
    return tuple(
        item
        for split in splits
        for task, found in (full or {})[split].items()
        for item in _of_task(split, task, found)
    )


def _of_task(split: str, task: str, found: Record) -> Iterator[ClassScores]:
    for name, section in found.items():
        if not (isinstance(section, Mapping) and {"each", "averages"} <= section.keys()):
            continue
        confusion = found.get(CONFUSION) or {} if name == "classes" else {}
        counts = tuple(
            (str(true), str(taken), whole(count))
            for true, row in confusion.items()
            for taken, count in row.items()
        )
        title = f"{task}, {TITLES[name]}" if name in TITLES else task
        yield ClassScores(split, title, ONE.get(name, name), tuple(_rows(section)), counts)


def _rows(section: Record) -> Iterator[ClassRow]:
    for name, scores in section["each"].items():
        yield _row(name, scores)
    for name, scores in section["averages"].items():
        yield _row("micro (all)" if name == "micro" else f"{name} mean", scores, is_mean=True)


def _row(name: str, scores: Record, *, is_mean: bool = False) -> ClassRow:
    numbers = (float(scores[key]) for key in ("precision", "recall", "f1"))
    return ClassRow(str(name), *numbers, whole(scores["support"]), is_mean)
