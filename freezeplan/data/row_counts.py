"""How many rows an epoch has, and how many different ones, where the data can be read here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from freezeplan.data.labels import UnreadableLabels, read_labels, training_file
from freezeplan.spec.tables import Spec

STAND_IN = 1_000


@dataclass(frozen=True)
class Rows:
    """Count training rows per task; ``files`` maps tasks to the file and column that they are read from.

    A task whose rows cannot be counted here is not in ``counts``.
    """

    counts: Mapping[str, int]
    files: Mapping[str, tuple[Path, str]]

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
    """Count the training rows of every task whose file is on this machine."""
    counts, files = {}, {}
    for index, task in enumerate(spec.task):
        path = training_file(task.data, spec, index)
        count = _count(path, task.data.label) if path is not None and task.data is not None else None
        if count is not None and path is not None and task.data is not None:
            counts[task.name], files[task.name] = count, (path.resolve(), task.data.column)
    return Rows(counts, files)


def _count(path: Path, label: str) -> int | None:
    try:
        return sum(1 for _ in read_labels(path, label))
    except UnreadableLabels:
        return None
