"""Streamed rows as the model takes them: those of one step at a time, read and encoded when it is their turn."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from freezeplan.data.encoder import Encoder
from freezeplan.data.split import Split, TaskData
from freezeplan.data.streamed import StreamedRows, reported
from freezeplan.data.streaming import Changed
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import counted, format_count
from freezeplan.tasks import TaskKind
from freezeplan.train.batches import Part
from freezeplan.train.encoded_rows import encode_split, problems_of
from freezeplan.train.forward import EncodedSplit
from freezeplan.train.ranks import ALONE, Ranks


def other_data(notes: Sequence[str], reason: str = "") -> Diagnostic:
    """Return the error (FP544) that the data of a run have changed since it began, as notes say; ``reason`` ends it."""
    advice = f"put the files back as they were, or start a new run{reason}"
    return diagnostic("FP544", "the data are not those that the run began with", help=advice, notes=notes)


@dataclass(frozen=True)
class StreamedTask:
    """Encode the rows of one task that are streamed."""

    name: str
    rows: StreamedRows
    kind: TaskKind
    encoder: Encoder

    def encoded(self, first: int, last: int) -> EncodedSplit:
        """Return the rows from number ``first`` up to ``last``, counted over the run, as a split of their own.

        Raises ``DiagnosticError`` with those that cannot be used.
        """
        return self._encoded(self.rows.split(first, last))

    def step(self, parts: Sequence[Part], ranks: Ranks) -> tuple[EncodedSplit, list[Part]]:
        """Return the rows of the batches of a step, and the batches with their places there.

        Of several ranks, each checks all rows and encodes its own, unless the number of terms needs them all. The
        place of a row that is not there is that of another one.
        """
        rows = [row for part in parts for row in part.rows]
        chosen = rows
        if ranks.count > 1 and self.kind.rowwise and not self.kind.terms_vary:
            chosen = sorted({rows[0], *(row for part in parts for row in ranks.own(part).rows)})
        places = {row: place for place, row in enumerate(chosen)}
        split = self._encoded(self.rows.split(rows[0], rows[-1] + 1, chosen))
        return split, [Part(part.task, tuple(places.get(row, 0) for row in part.rows)) for part in parts]

    def _encoded(self, split: Split) -> EncodedSplit:
        inputs = encode_split(split, self.encoder, self.kind)
        problems = problems_of(split, inputs)
        if problems:
            raise DiagnosticError(problems)
        return EncodedSplit(inputs, self.kind, self._targets(split, inputs), self.rows.labels)

    def _targets(self, split: Split, inputs: Any) -> Any:
        return self.kind.encode(split.targets, self.rows.labels, inputs)

    def seek(self, mark: Mapping[str, Any]) -> None:
        """Go on where a mark was taken; raises ``DiagnosticError`` (FP544) where other rows are there now."""
        try:
            with reported(self.rows.report):
                self.rows.stream.seek(mark)
        except Changed:
            notes = [f"task `{self.name}`, train: other rows are where the run stopped"]
            raise DiagnosticError([other_data(notes)]) from None


@dataclass
class Streams:
    """Hold the streamed tasks of a run by name, none where all rows are in memory.

    ``samples`` are the rows of the first batch of each.
    """

    tasks: Mapping[str, StreamedTask] = field(default_factory=dict)
    samples: Mapping[str, EncodedSplit] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def read(
        self, parts: Sequence[Part], data: MutableMapping[str, EncodedSplit], ranks: Ranks = ALONE
    ) -> tuple[Part, ...]:
        """Put the rows of a step's batches into ``data``; returns the batches with their places there."""
        if not self.tasks:
            return tuple(parts)
        found: list[Part] = []
        # The batches of a task stand together.
        for name, group in groupby(parts, key=lambda part: part.task):
            own = list(group)
            if name in self.tasks:
                data[name], own = self.tasks[name].step(own, ranks)
            found += own
        return tuple(found)

    def marks(self) -> dict[str, Any]:
        """Return as plain JSON where each task's rows go on."""
        return {name: task.rows.stream.mark() for name, task in self.tasks.items()}

    def seek(self, marks: Mapping[str, Any]) -> None:
        """Go on where marks were taken; a task without one begins anew, and is read up to where it is needed."""
        for name, mark in marks.items():
            if name in self.tasks:
                self.tasks[name].seek(mark)

    def close(self) -> None:
        """Let go of open files."""
        for task in self.tasks.values():
            task.rows.stream.close()

    def notes(self) -> list[Diagnostic]:
        """Say, once, which passes go round the data more than once (FP499)."""
        found = []
        for name, task in self.tasks.items():
            size = task.rows.stream.size
            if size is not None and size < len(task.rows) and name not in self.told:
                self.told.add(name)
                found.append(_note(task.rows, size))
        return found


def _note(rows: StreamedRows, size: int) -> Diagnostic:
    message = f"the data have {counted(size, 'row')}, and a pass takes {format_count(len(rows))}: it goes round them"
    return rows.report("FP499", message, help="lower `steps_per_epoch` to see each row once in an epoch")


def streams_of(tasks: Sequence[TaskData], encoder: Encoder) -> Streams:
    """Return the streamed tasks among some; raises ``DiagnosticError`` where their first batch cannot be used."""
    found = {
        task.name: StreamedTask(task.name, task.streamed, task.kind, encoder)
        for task in tasks
        if task.streamed is not None
    }
    samples = {name: task.encoded(0, task.rows.stream.order.batch) for name, task in found.items()}
    return Streams(found, samples)
