"""The stored tensors of one boundary: real tokens only for texts, whole ones for images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import torch

from freezeplan.prefix.files import state_of
from freezeplan.prefix.refusal import Reason, Refused
from freezeplan.prefix.replay import Cut

MASK = "attention_mask"


@dataclass(frozen=True)
class Layout:
    """Say how the entries of a cut lie in one array ``(rows, *tail)`` of numbers.

    An entry is one row, or, where ``side`` names the side of padding, a row per real token, ``lengths`` of
    them. The last row is zeros: padding is read from there.
    """

    tail: tuple[int, ...]
    dtype: torch.dtype
    count: int
    side: str | None = None
    lengths: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return (self.rows + 1, *self.tail)

    @property
    def rows(self) -> int:
        """Rows without that of zeros."""
        return sum(self.lengths) if self.lengths is not None else self.count

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return prod(self.shape) * self.dtype.itemsize

    @cached_property
    def counts(self) -> torch.Tensor:
        """Rows of each entry."""
        return torch.tensor(self.lengths if self.lengths is not None else [1] * self.count, dtype=torch.long)

    @cached_property
    def starts(self) -> torch.Tensor:
        """The first row of each entry."""
        return self.counts.cumsum(0) - self.counts

    def packed(self, hidden: torch.Tensor, inputs: Mapping[str, torch.Tensor], first: int) -> torch.Tensor:
        """Return what a batch recorded as rows of the array; its entries count up from ``first``.

        Raises :class:`Refused` where its size is not what the layout says.
        """
        if self.side is None:
            rows = hidden
        elif hidden.shape[:2] != inputs[MASK].shape:
            raise Refused(Reason.UNEVEN, f"{tuple(hidden.shape)} for a batch of {tuple(inputs[MASK].shape)}")
        else:
            rows = hidden[inputs[MASK].bool()]
        if tuple(rows.shape[1:]) != self.tail:
            raise Refused(Reason.UNEVEN, f"{tuple(rows.shape[1:])} after {self.tail}")
        if len(rows) != int(self.counts[first : first + len(hidden)].sum()):
            raise Refused(Reason.DATA_CHANGED, "an input has another number of tokens than before")
        return rows.to(self.dtype)

    def places(self, entries: Sequence[int], inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the row of the array for each place of a batch of entries, that of zeros for padding.

        Raises :class:`Refused` (DATA_CHANGED) where a mask on the CPU does not fit the entries; masks on other
        devices are not read, which would make them wait.
        """
        if self.side is None:
            return torch.tensor(entries)
        mask = inputs[MASK]
        counts, starts = self.counts[list(entries), None], self.starts[list(entries), None]
        offset = mask.shape[1] - counts if self.side == "left" else torch.zeros_like(counts)
        place = torch.arange(mask.shape[1]) - offset
        real = (place >= 0) & (place < counts)
        unfit = len(mask) != len(entries) or int(counts.max()) > mask.shape[1]
        if unfit or (mask.device.type == "cpu" and not torch.equal(real, mask.bool())):
            raise Refused(
                Reason.DATA_CHANGED, "a batch does not hold the tokens that were stored for its rows"
            )
        return torch.where(real, starts + place, self.rows)


def layout_of(cut: Cut, count: int, lengths: tuple[int, ...] | None, asked: torch.dtype) -> Layout:
    """Return how a cut's entries are stored in the number format that was asked for, or in its own if shorter."""
    dtype = stored_as(cut, asked)
    if cut.per_token is None or lengths is None:
        return Layout(cut.shape[1:], dtype, count)
    return Layout(cut.shape[2:], dtype, count, cut.per_token, lengths)


def stored_as(cut: Cut, asked: torch.dtype) -> torch.dtype:
    """Return the shorter of two number formats: that which was asked for, and that of the cut itself."""
    return min(asked, cut.dtype, key=lambda kind: kind.itemsize)


@dataclass(frozen=True)
class Entries:
    """Hold the array of one boundary, in memory, or mapped from the file at ``path`` (its state when opened)."""

    layout: Layout
    values: torch.Tensor
    path: Path | None = None
    state: tuple[int, int, int] | None = None

    def batch(
        self,
        entries: Sequence[int],
        inputs: Mapping[str, torch.Tensor],
        device: torch.device,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Return a new tensor of what was recorded for some entries, padded as the inputs of this forward are.

        Raises :class:`Refused` where the inputs do not fit (DATA_CHANGED), or as :meth:`at` does.
        """
        return self.at(self.layout.places(entries, inputs), device, dtype)

    def at(self, places: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Return a new tensor of some rows of the array, in the shape of ``places`` and their tail.

        Raises :class:`Refused` where the file has been written to (STORE_CHANGED).
        """
        if not self.unchanged:
            raise Refused(Reason.STORE_CHANGED, f"`{self.path}`")
        rows = self.values.index_select(0, places.reshape(-1).to(self.values.device, non_blocking=True))
        shape = (*places.shape, *self.layout.tail)
        return rows.view(shape).to(device=device, dtype=dtype, non_blocking=True)

    @property
    def unchanged(self) -> bool:
        """Whether nobody has written to the file since it was opened; in memory nobody can."""
        if self.path is None:
            return True
        try:
            return state_of(self.path) == self.state
        except OSError:
            return False
