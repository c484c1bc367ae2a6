"""The rows of one split of a task, and all that a task reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from freezeplan.data.checks import Report
from freezeplan.data.columns import Images, Texts, texts_of
from freezeplan.data.modality import Kind
from freezeplan.data.pairs import TextPairs
from freezeplan.data.places import Places
from freezeplan.tasks import TaskKind

if TYPE_CHECKING:
    from freezeplan.data.streamed import StreamedRows


@dataclass(frozen=True)
class Split:
    """Hold the rows of one split: what the model reads, the values of its target columns, where each row stands.

    ``source`` is the name people know it by; ``report`` points a diagnostic at the key that names it.
    """

    kind: Kind
    columns: tuple[str, ...]
    inputs: Texts | TextPairs | Images
    targets: tuple[Any, ...]
    count: int
    source: str
    places: Places
    report: Report

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True)
class TaskData:
    """Hold a task's kind, the names of its head's outputs in their order, and its splits (those it has).

    ``unlabelled`` holds the test split in their place where its rows have no targets, and ``streamed`` the training
    rows where they are read as they are needed.
    """

    name: str
    kind: TaskKind
    labels: tuple[str, ...]
    splits: Mapping[str, Split]
    unlabelled: Mapping[str, Split] = field(default_factory=dict)
    streamed: StreamedRows | None = None

    @property
    def training_rows(self) -> int | None:
        """The number of its training rows, of streamed ones those that count as a pass; None where it has none."""
        rows = self.splits.get("train") if self.streamed is None else self.streamed
        return None if rows is None else len(rows)

    def without_inputs(self) -> TaskData:
        """Return the task without its texts or images, which nobody needs once they are encoded."""
        splits = {name: replace(split, inputs=texts_of([])) for name, split in self.splits.items()}
        return replace(self, splits=splits)

    def targets(self, split: str, encoded: Any = None) -> Any:
        """Return the targets of all rows of a split, whose encoded inputs some kinds look at."""
        return self.kind.encode(self.splits[split].targets, self.labels, encoded)
