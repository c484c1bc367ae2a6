"""What may be wrong with a task's rows: each check returns diagnostics and changes nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy

from freezeplan.data.columns import Labels
from freezeplan.data.findings import Flaws
from freezeplan.data.label_lists import LabelLists
from freezeplan.data.modality import Kind
from freezeplan.data.places import Places
from freezeplan.data.reader import Lack
from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import (
    SHOWN_ROWS,
    closest_or_all,
    counted,
    in_quotes,
    plural,
    quoted,
    some,
)

Report = Callable[..., Diagnostic]
"""What points a diagnostic at a key: :meth:`Locations.report` of its path."""
MOST_ALIKE = 20
MEASURED = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?|[+-]?\d+")
HEADER = "; is the first line a header?"


def check_columns(lacks: Iterable[Lack], reports: Mapping[str, Report]) -> list[Diagnostic]:
    """Report columns that files lack, those with the same columns together; ``reports`` point at the keys."""
    alike: dict[tuple[str, tuple[str, ...]], list[Lack]] = {}
    for lack in lacks:
        alike.setdefault((lack.name, lack.present), []).append(lack)
    found = []
    for (name, present), those in alike.items():
        files = list(dict.fromkeys(lack.file for lack in those))
        message = f"{some(files)} {'has' if len(files) == 1 else 'have'} no column `{name}`"
        advice = closest_or_all(name, present, "columns") + _header_advice(those[0])
        found.append(reports[name]("FP456", message, help=advice))
    return found[:MOST_ALIKE]


def _header_advice(lack: Lack) -> str:
    separated = lack.file.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
    return HEADER if separated and not set(reserved(lack.present)) else ""


def reserved(names: Iterable[str]) -> list[str]:
    """Return the names among some that a header is likely to hold."""
    return [name for name in names if name.lower() in ("text", "label", "sentence", "image", "id")]


def check_inputs(
    flaws: Flaws, kind: Kind, columns: Sequence[str], source: str, places: Places, report: Report
) -> list[Diagnostic]:
    """Report rows whose text or image cannot be used, once per kind of flaw."""
    where = (
        f"{plural(len(columns), 'column')} {quoted(columns)} of `{source}` hold{'s' * (len(columns) == 1)}"
    )
    return [
        report(
            kind.code,
            f"{where} {what} in {places.phrase(found.rows, found.count)}",
            help=found.advice or kind.advice,
            notes=[
                f"{places.place(row)}: {detail}"
                for row, detail in zip(found.rows[:SHOWN_ROWS], found.details, strict=False)
                if detail
            ],
        )
        for what, found in flaws.items()
    ]


def check_targets(
    flaws: Flaws, column: str, wanted: str, source: str, places: Places, report: Report
) -> list[Diagnostic]:
    """Report values that cannot be learned; ``wanted`` says in words what can."""
    return [
        report(
            "FP458",
            f"column `{column}` of `{source}` holds {what} in {places.phrase(found.rows, found.count)}",
            help=wanted,
        )
        for what, found in flaws.items()
    ]


def check_scale(bright: bool | None, column: str, source: str, report: Report) -> list[Diagnostic]:
    """Warn of images whose numbers are all 0 or 1: they were scaled already, or are masks."""
    if bright is not False:
        return []
    message = f"no number in the images of column `{column}` of `{source}` is above 1"
    return [report("FP473", message, help="write pixels as whole numbers from 0 (black) to 255")]


def check_measured(labels: Sequence[str], column: str, source: str, report: Report) -> list[Diagnostic]:
    """Warn of labels that are all numbers, some with a decimal point: measurements, more likely than classes."""
    if not all(MEASURED.fullmatch(label) for label in labels) or not any("." in label for label in labels):
        return []
    message = f"the labels in column `{column}` of `{source}` are numbers with decimal points: {some(labels)}"
    advice = "a task of kind `classification` makes each of them a class; one of kind `regression` learns the numbers"
    return [report("FP479", message, help=advice)]


def check_known(
    labels: Labels | LabelLists,
    known: Sequence[str],
    source: str,
    places: Places,
    declared: bool,
    report: Report,
) -> list[Diagnostic]:
    """Report labels that are none of the task's; ``declared`` tells whether the spec lists them."""
    origin = "the task's `labels`" if declared else "the training data"
    unknown = sorted(set(labels.names) - set(known))
    if not unknown:
        return []
    if len(unknown) == 1:
        count, rows = labels.rows_of(unknown[0], SHOWN_ROWS)
        where = places.phrase(rows, count)
        message = f"`{source}` has the label {in_quotes(unknown[0])} ({where}), which is not in {origin}"
        return [report("FP459", message, help=closest_or_all(unknown[0], known, "labels"))]
    message = f"`{source}` has {counted(len(unknown), 'label')} that are not in {origin}: {some(unknown)}"
    notes = [_unknown(labels, label, places) for label in unknown[:SHOWN_ROWS]]
    return [report("FP459", message, help=closest_or_all(unknown[0], known, "labels"), notes=notes)]


def _unknown(labels: Labels | LabelLists, label: str, places: Places) -> str:
    count, rows = labels.rows_of(label, SHOWN_ROWS)
    return f"{in_quotes(label)}: {places.phrase(rows, count)}"


def check_alike(labels: Sequence[str], report: Report) -> list[Diagnostic]:
    """Warn of labels that nobody can tell apart by their looks: each is a class of its own."""
    alike: dict[str, list[str]] = {}
    for label in labels:
        alike.setdefault(_seen(label), []).append(label)
    return [
        report(
            "FP475",
            f"the labels {some(sorted(found))} differ in {_unseen(found)} alone, and each is a class",
            help="write them alike in the data, unless they mean different things",
        )
        for found in alike.values()
        if len(found) > 1
    ][:MOST_ALIKE]


def _seen(label: str) -> str:
    """Return what is seen of a label: composed characters, without those of no width and blanks around."""
    if label.isascii():
        return label.strip()
    shown = (char for char in unicodedata.normalize("NFC", label) if unicodedata.category(char) != "Cf")
    return "".join(shown).strip()


def _unseen(labels: Iterable[str]) -> str:
    return "blanks" if len({label.strip() for label in labels}) == 1 else "what is not seen"


def check_read_once(again: Sequence[str], report: Report) -> list[Diagnostic]:
    """Warn of files, by their names, that a split reads more than once: their rows count as often."""
    if not again:
        return []
    message = (
        f"{some(again)} {'is' if len(again) == 1 else 'are'} read more than once, and the rows count as often"
    )
    return [report("FP482", message, help="let each file be in one entry or pattern alone")]


def check_classes(
    seen: Iterable[str], labels: Sequence[str], declared: bool, source: str, report: Report
) -> list[Diagnostic]:
    """Report training data of one class (error), or declared labels that it never shows (warning)."""
    present = set(seen)
    if len(present) == 1:
        only = next(iter(present))
        return [
            report(
                "FP460",
                f"every row of `{source}` has the label {in_quotes(only)}: there is nothing to tell apart",
                help="give at least two classes, or name another label column",
            )
        ]
    return _check_missing(present, labels, source, report) if declared else []


def check_seen(seen: Iterable[str], labels: Sequence[str], source: str, report: Report) -> list[Diagnostic]:
    """Report training data in which no row has a label (error), or labels that none has (warning)."""
    present = set(seen)
    if not present:
        message = f"no row of `{source}` has a label: there is nothing to learn"
        return [report("FP460", message, help="give rows with labels, or name another column")]
    return _check_missing(present, labels, source, report)


def _check_missing(
    present: Collection[str], labels: Sequence[str], source: str, report: Report
) -> list[Diagnostic]:
    missing = [label for label in labels if label not in present]
    if not missing:
        return []
    return [
        report(
            "FP461",
            f"`{source}` has no row of the declared {plural(len(missing), 'label')} {some(missing, MOST_ALIKE)}",
            help="the head has an output for it that never learns anything but not to fire",
        )
    ]


def check_constant(numbers: numpy.ndarray, column: str, source: str, report: Report) -> list[Diagnostic]:
    """Report training data whose numbers are all the same."""
    if len(numbers) == 0 or (numbers != numbers[0]).any():
        return []
    message = f"every row of `{source}` has the number {numbers[0]:g} in column `{column}`: there is nothing to learn"
    return [report("FP460", message, help="give rows with different numbers, or name another column")]


def check_repeated(
    train: numpy.ndarray, other: numpy.ndarray, inputs: str, source: str, places: Places, report: Report
) -> list[Diagnostic]:
    """Warn of inputs that evaluation shares with training: its score then says less than it seems.

    ``train`` and ``other`` hold a hash per row, equal for equal inputs; ``inputs`` says what they are.
    """
    rows = [int(row) + 1 for row in numpy.flatnonzero(numpy.isin(other, train))]
    if not rows:
        return []
    return [
        report(
            "FP462",
            f"{len(rows)} of {len(other)} {inputs} of `{source}` {'is' if len(rows) == 1 else 'are'} "
            f"in the training data too ({places.phrase(rows)})",
            help=f"take them out of one of the two; a score on {inputs} seen in training flatters",
        )
    ]
