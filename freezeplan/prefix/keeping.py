"""Where recorded rows go: an array in memory, or a file; of one process, or of several that compute together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as processes

from freezeplan.prefix.cut import Cut
from freezeplan.prefix.entries import Entries, Layout
from freezeplan.prefix.files import FilePart, FileWriter, StoreFile, checksum, mapped, state_of
from freezeplan.prefix.keys import Key
from freezeplan.prefix.refusal import Refused
from freezeplan.prefix.spread import Share, SpreadEntries, SpreadLayout

EXCHANGED_BYTES = 1 << 24


@dataclass(frozen=True)
class Recording:
    """Say what to record and where to keep it: in memory on ``device``, or in ``file``."""

    cut: Cut
    layout: Layout
    key: Key
    device: torch.device
    file: StoreFile | None


class InMemory:
    """Fill an array in memory from its first row on."""

    def __init__(self, target: Recording, rows: int | None = None) -> None:
        self.target, layout = target, target.layout
        shape = layout.shape if rows is None else (rows, *layout.tail)
        self.values = torch.zeros(shape, dtype=layout.dtype, device=target.device)
        self.rows = 0

    def append(self, rows: torch.Tensor) -> None:
        """Keep some rows behind those that are there."""
        self.values[self.rows : self.rows + len(rows)].copy_(rows)
        self.rows += len(rows)

    def finished(self) -> Entries:
        """Return the entries, all recorded."""
        return Entries(self.target.layout, self.values)

    def publish(self, entries: Entries) -> Entries:
        """Return the entries as they are used from now on."""
        return entries

    def discard(self) -> None:
        """Let go of what is half done."""


class OwnRows(InMemory):
    """Fill an array in memory with the rows of this process alone."""

    def __init__(self, target: Recording, spread: SpreadLayout, share: Share) -> None:
        super().__init__(target, spread.rows)
        self.spread, self.share = spread, share

    def finished(self) -> Entries:
        """Return the entries, of which the other processes hold the rest."""
        return SpreadEntries(self.target.layout, self.values, spread=self.spread, share=self.share)


class Everywhere(InMemory):
    """Fill an array in memory with the rows of this process, and then with those of all others."""

    def __init__(self, target: Recording, spread: SpreadLayout, share: Share, device: torch.device) -> None:
        super().__init__(target)
        self.places = [spread.places_of(process) for process in range(share.count)]
        self.own, self.device = self.places[share.number], device

    def append(self, rows: torch.Tensor) -> None:
        """Keep some rows in the place of the next that are this process's."""
        places = self.own[self.rows : self.rows + len(rows)].to(self.values.device)
        self.values[places] = rows.to(self.values.device)
        self.rows += len(rows)

    def finished(self) -> Entries:
        """Return the entries, with what the other processes have recorded."""
        row = max(1, self.target.layout.nbytes // self.target.layout.shape[0])
        for process, places in enumerate(self.places):
            for chunk in places.split(max(1, EXCHANGED_BYTES // row)):
                there = chunk.to(self.values.device)
                # As bytes: not every number format travels by itself.
                sent = self.values[there].to(self.device).view(len(chunk), -1).view(torch.uint8)
                processes.broadcast(sent, process)
                found = sent.view(self.values.dtype).view(len(chunk), *self.target.layout.tail)
                self.values[there] = found.to(self.values.device)
        return super().finished()


class InFile:
    """Fill a file that is valid only once it is published."""

    def __init__(self, target: Recording, file: StoreFile) -> None:
        self.target, self.file = target, file
        self.writer = FileWriter(file, target.layout.nbytes)

    def append(self, rows: torch.Tensor) -> None:
        """Write some rows behind those that are there."""
        self.writer.append(rows)

    def finished(self) -> Entries:
        """Return the entries, all recorded."""
        layout = self.target.layout
        self.writer.append(torch.zeros((1, *layout.tail), dtype=layout.dtype))
        return Entries(layout, mapped(self.file.partial, layout.shape, layout.dtype))

    def publish(self, entries: Entries) -> Entries:
        """Make the file valid, and return its entries."""
        self.file.publish(self.target.key, self.writer.crc32)
        return Entries(entries.layout, entries.values, self.file.numbers, state_of(self.file.numbers))

    def discard(self) -> None:
        """Close the file, and delete it where it is half done."""
        self.writer.close()
        self.file.partial.unlink(missing_ok=True)


class InCommonFile:
    """Fill one file of all processes, each its own rows; the first makes it and makes it valid."""

    def __init__(
        self, target: Recording, file: StoreFile, spread: SpreadLayout, share: Share, device: torch.device
    ) -> None:
        self.target, self.file, self.share, self.device = target, file, share, device
        self.own, self.rows = spread.places_of(share.number), 0
        self.writer: FileWriter | None = None
        self.part: FilePart | None = None
        share.agreed(self._claim, device)
        self.partial = Path(share.of_first(str(file.partial)))
        try:
            share.agreed(self._open, device)
        except Refused:
            self.discard()
            raise

    def _claim(self) -> None:
        if self.share.number == 0:
            self.writer = FileWriter(self.file, self.target.layout.nbytes)

    def _open(self) -> None:
        self.part = FilePart(self.partial, self.target.layout.nbytes)

    def append(self, rows: torch.Tensor) -> None:
        """Write some rows, which follow each other in the file, where they belong."""
        if len(rows) and self.part is not None:
            self.part.put(rows, int(self.own[self.rows]))
            self.rows += len(rows)

    def finished(self) -> Entries:
        """Return the entries, once all processes have written theirs."""
        self.share.agreed(self._settle, self.device)
        # The first process gives the file another name next: all must have opened it.
        return self.share.agreed(self._mapped, self.device)

    def _mapped(self) -> Entries:
        layout = self.target.layout
        # The last row, of zeros, is as the file was made.
        return Entries(layout, mapped(self.partial, layout.shape, layout.dtype))

    def _settle(self) -> None:
        if self.part is not None:
            self.part.settle()

    def publish(self, entries: Entries) -> Entries:
        """Make the file valid, and return its entries."""
        self.share.agreed(self._make_valid, self.device)
        return Entries(entries.layout, entries.values, self.file.numbers, state_of(self.file.numbers))

    def _make_valid(self) -> None:
        if self.share.number == 0:
            self.file.publish(self.target.key, checksum(self.partial))

    def discard(self) -> None:
        """Close the file, and delete it where it is half done."""
        if self.part is not None:
            self.part.close()
        if self.writer is not None:
            self.writer.close()
            self.file.partial.unlink(missing_ok=True)


Keeper = InMemory | InFile | InCommonFile


def keeper_for(target: Recording, spread: SpreadLayout | None, share: Share, device: torch.device) -> Keeper:
    """Return what keeps a target's rows; ``device`` is where what processes exchange must lie."""
    if spread is None:
        return InFile(target, target.file) if target.file else InMemory(target)
    if not share.everywhere:
        return OwnRows(target, spread, share)
    if target.file:
        return InCommonFile(target, target.file, spread, share, device)
    return Everywhere(target, spread, share, device)
