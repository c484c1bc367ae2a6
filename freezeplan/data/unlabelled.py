"""Test rows without labels, which are predicted and not scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from freezeplan.data.columns import Labels
from freezeplan.data.formats.conll_rows import TAGS
from freezeplan.data.numbers import NumberColumn
from freezeplan.data.reader import Lack, RowTable, Wanted
from freezeplan.data.split import Split
from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import counted, plural, quoted

TEST = "test"
HIDDEN = -1
"""What data sets of shared tasks write in place of labels that they keep to themselves."""
EMPTY = ("null (", "no label (blank)", "no number (blank)")


def lacks_targets(table: RowTable, targets: Sequence[Wanted]) -> bool:
    """Whether no row of a table has a target: its columns are in none of the files, or empty in every row."""
    return bool(targets) and all(_is_empty(table, wanted) for wanted in targets)


def _is_empty(table: RowTable, wanted: Wanted) -> bool:
    found = list(table.columns[wanted].flaws.items())
    return len(found) == 1 and found[0][0].startswith(EMPTY) and found[0][1].count == table.count


def columns_fewer_than(
    learned: RowTable | None, table: RowTable, targets: Sequence[Wanted]
) -> tuple[Lack, ...]:
    """Return that the files of a table lack tags: those with fewer columns than the training data they belong to.

    The tags are the last column, wherever that is: of a file that comes without them it holds something else.
    """
    if learned is None or TAGS not in {wanted.name for wanted in targets}:
        return ()
    least = min(map(_width, learned.present), default=0)
    files = zip(table.places.files, table.present, strict=True)
    return tuple(
        Lack(TAGS, file.name, tuple(name for name in present if name != TAGS))
        for file, present in files
        if TAGS in present and _width(present) < least
    )


def _width(present: Sequence[str]) -> int:
    """Return how many columns a file of words has, which go by their numbers."""
    return sum(name.isdecimal() for name in present)


def hides_targets(splits: Mapping[str, Split], labels: Sequence[str]) -> bool:
    """Whether every target of the test rows is -1, which is none of the labels, and none of the numbers learned."""
    if TEST not in splits or not splits[TEST].targets:
        return False
    learned = splits["train"].targets if "train" in splits else ()
    return all(
        _is_hidden(column, learned[place] if learned else None, labels)
        for place, column in enumerate(splits[TEST].targets)
    )


def _is_hidden(column: Any, learned: Any, labels: Sequence[str]) -> bool:
    if isinstance(column, Labels):
        return column.names == (str(HIDDEN),) and str(HIDDEN) not in labels
    if not isinstance(column, NumberColumn) or not (column.numbers == HIDDEN).all():
        return False
    return learned is None or not (learned.numbers == HIDDEN).any()


def note_unlabelled(split: Split, columns: Sequence[str], hidden: bool) -> Diagnostic:
    """Say that test rows will be predicted (FP487), and how it is told that they have no labels."""
    named = f"{plural(len(columns), 'column')} {quoted(columns)}"
    how = f"{named} {'is' if len(columns) == 1 else 'are'} not there, or empty in every row"
    if hidden:
        how = f"{named} {'holds' if len(columns) == 1 else 'hold'} {HIDDEN} in every row"
    message = f"`{split.source}` has no labels: {how}"
    advice = f"the run ends with predictions for its {counted(len(split), 'row')}, and no test score"
    return split.report("FP487", message, help=advice)
