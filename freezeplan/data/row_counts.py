"""How many rows an epoch has, and how many different ones, where the data can be read here."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from freezeplan.data.files import DataFile
from freezeplan.data.formats.row_source import Unreadable
from freezeplan.data.reader import Part, RowTable, Wanted, columns_of, parts_of, read_split
from freezeplan.spec.streams import rows_per_pass
from freezeplan.spec.tables import Spec
from freezeplan.tasks import task_kind

STAND_IN = 1_000
TRAINED, EVALUATED = "train", "validation"
LARGE_FILE = 64 << 20


@dataclass(frozen=True)
class Rows:
    """Count the rows of one split per task; ``files`` maps tasks to the files and the column that they are read from.

    A task whose rows cannot be counted here is not in ``counts``.
    """

    counts: Mapping[str, int]
    files: Mapping[str, Hashable]

    def known(self, names: Iterable[str]) -> bool:
        """Whether the rows of all these tasks were counted."""
        return set(names) <= self.counts.keys()

    def each(self, names: Iterable[str]) -> dict[str, int]:
        """Return the rows of each of some tasks; where some are not known, the same number stands for each."""
        names = tuple(names)
        known = self.known(names)
        return {name: self.counts[name] if known else STAND_IN for name in names}


def rows_of(spec: Spec, split: str = TRAINED, *, at_hand: bool = False) -> Rows:
    """Count the rows of every task's split that can be read here and holds its targets in each row.

    Of streamed rows, those of a pass are counted, by the spec alone.

    With ``at_hand`` only what can be counted at once is: no set of the hub, no large file that is read whole.
    """
    counts: dict[str, int] = {}
    files: dict[str, Hashable] = {}
    passes = rows_per_pass(spec) if split == TRAINED else {}
    for index, task in enumerate(spec.task):
        if task.name in passes:
            counts[task.name], files[task.name] = passes[task.name], (index, split)
            continue
        try:
            parts = parts_of(spec, index, split)
            if at_hand and not all(map(_at_hand, parts)):
                continue
            table = read_split(spec, index, split, targets_only=True)
        except Unreadable:
            continue
        if table is None or not all(_is_whole(table, wanted) for wanted in columns_of(task).targets):
            continue
        counts[task.name] = table.count
        files[task.name] = set_of(spec, index, split)
    return Rows(counts, files)


def set_of(spec: Spec, index: int, split: str) -> Hashable:
    """Return what is equal for tasks and splits that read the same column of the same files."""
    data, kind = spec.task[index].data, task_kind(spec.task[index])
    try:
        signatures = tuple(part.signature for part in parts_of(spec, index, split))
    except (Unreadable, OSError):
        return (index, split)
    if data is None:
        return (index, split)
    # A language model reads texts with their ends.
    return (signatures, kind.compares, kind.own_head, *data.inputs.values())


def _at_hand(part: Part) -> bool:
    if not isinstance(part, DataFile):
        return False
    return part.format.by_column or (part.path.is_file() and part.path.stat().st_size <= LARGE_FILE)


def _is_whole(table: RowTable, wanted: Wanted) -> bool:
    return not table.columns[wanted].flaws and wanted.name not in {lack.name for lack in table.lacks}
