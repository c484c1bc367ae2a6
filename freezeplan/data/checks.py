"""What may be wrong with a task's rows: each check returns diagnostics and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from freezeplan.data.findings import Flaw, Spot
from freezeplan.data.modality import Kind
from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import SHOWN_ROWS, closest_or_all, plural, quoted, rows_phrase


def check_columns(spots: Mapping[str, Spot], present: Sequence[str], source: str) -> list[Diagnostic]:
    """Report columns that the data lacks; ``spots`` maps each wanted column to where it was asked for."""
    return [
        spot.report(
            "FP456", f"`{source}` has no column `{name}`", help=closest_or_all(name, present, "columns")
        )
        for name, spot in spots.items()
        if name not in present
    ]


def check_inputs(
    flaws: Mapping[int, Flaw], kind: Kind, column: str, source: str, spot: Spot
) -> list[Diagnostic]:
    """Report rows (counted from 1) whose text or image cannot be used, once per kind of flaw."""
    rows: dict[str, list[int]] = {}
    for row, flaw in flaws.items():
        rows.setdefault(flaw.what, []).append(row)
    return [
        spot.report(
            kind.code,
            f"column `{column}` of `{source}` holds {what} in {rows_phrase(found)}",
            help=f"{kind.advice}; rows count from 1",
            notes=[f"row {row}: {flaws[row].detail}" for row in found[:SHOWN_ROWS] if flaws[row].detail],
        )
        for what, found in rows.items()
    ]


def check_scale(values: Sequence[Any], column: str, source: str, spot: Spot) -> list[Diagnostic]:
    """Warn of images whose numbers are all 0 or 1: they were scaled already, or are masks."""
    numbers = [value for value in values if isinstance(value, list)]
    if not numbers or any(_reaches(value, 2) for value in numbers):
        return []
    message = f"no number in the images of column `{column}` of `{source}` is above 1"
    return [spot.report("FP473", message, help="write pixels as whole numbers from 0 (black) to 255")]


def _reaches(value: Any, least: float) -> bool:
    if isinstance(value, list):
        return any(_reaches(item, least) for item in value)
    return not isinstance(value, (int, float)) or value >= least


def check_labels(values: Sequence[Any], column: str, source: str, spot: Spot) -> list[Diagnostic]:
    """Report values that cannot be labels: only text and whole numbers can."""
    return [
        spot.report(
            "FP458",
            f"column `{column}` of `{source}` holds {what} in {rows_phrase(rows)}",
            help="a label is text or a whole number; rows count from 1",
        )
        for what, rows in _by_problem(values, label_problem).items()
    ]


def check_known(
    values: Sequence[str], known: Sequence[str], source: str, declared: bool, spot: Spot
) -> list[Diagnostic]:
    """Report labels that are none of the task's; ``declared`` tells whether the spec lists them."""
    origin = "the task's `labels`" if declared else "the training data"
    rows: dict[str, list[int]] = {}
    for number, value in enumerate(values, 1):
        if value not in known:
            rows.setdefault(value, []).append(number)
    return [
        spot.report(
            "FP459",
            f"`{source}` has the label `{label}` ({rows_phrase(found)}), which is not in {origin}",
            help=closest_or_all(label, known, "labels"),
        )
        for label, found in rows.items()
    ]


def check_alike(labels: Sequence[str], spot: Spot) -> list[Diagnostic]:
    """Warn of labels that only blanks around them tell apart: each is a class of its own."""
    alike: dict[str, list[str]] = {}
    for label in labels:
        alike.setdefault(label.strip(), []).append(label)
    return [
        spot.report(
            "FP475",
            f"the labels {quoted(sorted(found))} differ in blanks alone, and each is a class",
            help="write them alike in the data, unless they mean different things",
        )
        for found in alike.values()
        if len(found) > 1
    ]


def check_classes(
    seen: Iterable[str], labels: Sequence[str], declared: bool, source: str, spot: Spot
) -> list[Diagnostic]:
    """Report training data of one class (error), or declared labels that it never shows (warning)."""
    present = set(seen)
    if len(present) == 1:
        only = next(iter(present))
        return [
            spot.report(
                "FP460",
                f"every row of `{source}` has the label `{only}`: there is nothing to tell apart",
                help="give at least two classes, or name another label column",
            )
        ]
    missing = [label for label in labels if label not in present]
    if not declared or not missing:
        return []
    return [
        spot.report(
            "FP461",
            f"`{source}` has no row of the declared {plural(len(missing), 'label')} {quoted(missing)}",
            help="the head has an output for it that never learns anything but not to fire",
        )
    ]


def check_repeated(
    train: Iterable[Any], other: Sequence[Any], plural: str, source: str, spot: Spot
) -> list[Diagnostic]:
    """Warn of inputs that evaluation shares with training: its score then says less than it seems.

    ``train`` and ``other`` hold what equal inputs have in common; ``plural`` says what they are.
    """
    known = set(train)
    rows = [number for number, key in enumerate(other, 1) if key in known]
    if not rows:
        return []
    return [
        spot.report(
            "FP462",
            f"{len(rows)} of {len(other)} {plural} of `{source}` {'is' if len(rows) == 1 else 'are'} "
            f"in the training data too ({rows_phrase(rows)})",
            help=f"take them out of one of the two; a score on {plural} seen in training flatters",
        )
    ]


def text_problem(value: Any) -> str | None:
    """Say what a value is when it is not a text to classify; None when it is one.

    >>> text_problem("hello"), text_problem(" "), text_problem(3), text_problem(None)
    (None, 'blank text', 'a number', 'null (no text)')
    """
    if isinstance(value, str):
        return _unusable(value) if value.strip() else "blank text"
    return "null (no text)" if value is None else _kind(value)


def text_flaw(value: Any) -> Flaw | None:
    """Return what :func:`text_problem` says as a flaw."""
    what = text_problem(value)
    return None if what is None else Flaw(what)


def label_problem(value: Any) -> str | None:
    """Say what a value is when it cannot be a label; None when it can.

    >>> label_problem("spam"), label_problem(1), label_problem(True), label_problem(1.5)
    (None, None, 'true or false', 'a number with a decimal point')
    """
    if isinstance(value, str):
        return _unusable(value) if value.strip() else "no label (blank)"
    if isinstance(value, int) and not isinstance(value, bool):
        return None
    if isinstance(value, float):
        return "a number with a decimal point"
    return "null (no label)" if value is None else _kind(value)


def _unusable(text: str) -> str | None:
    # JSON can spell half of a surrogate pair; no tokenizer and no file can hold it.
    return (
        "half of a surrogate pair (broken Unicode)" if any("\ud800" <= c <= "\udfff" for c in text) else None
    )


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "an object" if isinstance(value, dict) else f"a value of type {type(value).__name__}"


def _by_problem(values: Sequence[Any], problem: Callable[[Any], str | None]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, value in enumerate(values, 1):
        what = problem(value)
        if what is not None:
            found.setdefault(what, []).append(number)
    return found
