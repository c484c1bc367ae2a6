"""How many rows an epoch has, and how many different ones, where the data can be read here."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from freezeplan.data.formats.row_source import Unreadable
from freezeplan.data.reader import RowTable, Wanted, parts_of, read_split, wanted_of
from freezeplan.spec.tables import Spec

STAND_IN = 1_000


@dataclass(frozen=True)
class Rows:
    """Count training rows per task; ``files`` maps tasks to the files and the column that they are read from.

    A task whose rows cannot be counted here is not in ``counts``.
    """

    counts: Mapping[str, int]
    files: Mapping[str, Hashable]

    def known(self, names: Iterable[str]) -> bool:
        """Whether the rows of all these tasks were counted."""
        return set(names) <= self.counts.keys()

    def per_epoch(self, names: Iterable[str]) -> int:
        """Return the rows of the longest task: an epoch is one pass over it, shorter ones repeat."""
        names = tuple(names)
        return max((self.counts[name] for name in names), default=0) if self.known(names) else STAND_IN

    def different(self, names: Iterable[str]) -> int:
        """Return how many rows there are to store: tasks that read the same column share them."""
        names = tuple(names)
        if not self.known(names):
            return STAND_IN
        return sum({self.files[name]: self.counts[name] for name in names}.values())


def rows_of(spec: Spec) -> Rows:
    """Count the training rows of every task whose data can be read here and holds a label in each row."""
    counts: dict[str, int] = {}
    files: dict[str, Hashable] = {}
    for index, task in enumerate(spec.task):
        try:
            table = read_split(spec, index, "train", labels_only=True)
            parts = parts_of(spec, index, "train")
        except Unreadable:
            continue
        if task.data is None or table is None or not _has_labels(table, wanted_of(task.data)[1]):
            continue
        counts[task.name] = table.count
        files[task.name] = (tuple(part.signature for part in parts), task.data.column)
    return Rows(counts, files)


def _has_labels(table: RowTable, label: Wanted) -> bool:
    return not table.columns[label].flaws and label.name not in {lack.name for lack in table.lacks}
