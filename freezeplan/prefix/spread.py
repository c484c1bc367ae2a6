"""A store that several processes share: each computes its own rows, and holds those alone, or those of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeVar, cast

import torch
import torch.distributed as processes

from freezeplan.prefix.entries import Entries, Layout
from freezeplan.prefix.refusal import Reason, Refused

Value = TypeVar("Value")


@dataclass(frozen=True)
class Share:
    """Say which of the processes this is that share a store: ``number`` of ``count``, from 0.

    All of them compute it at the same time. Where each has all rows ``everywhere`` it reads them by itself; else it
    holds its own, and all read at the same time, as often as each other.
    """

    number: int = 0
    count: int = 1
    everywhere: bool = False

    def any(self, here: bool, device: torch.device) -> bool:
        """Whether something is so in any of the processes."""
        if self.count == 1:
            return here
        flag = torch.tensor(float(here), device=device)
        processes.all_reduce(flag)
        return bool(flag > 0)

    def agreed(self, work: Callable[[], Value], device: torch.device) -> Value:
        """Return what some work gives; where it is refused in one of the processes, it is in all (:class:`Refused`)."""
        flaw, found = None, None
        try:
            found = work()
        except Refused as error:
            flaw = error
        if self.any(flaw is not None, device):
            raise flaw or Refused(Reason.ELSEWHERE)
        return cast(Value, found)

    def of_first(self, value: str) -> str:
        """Return what the first of the processes says."""
        said = [value]
        if self.count > 1:
            processes.broadcast_object_list(said, 0)
        return said[0]

    def turns(self, batches: int) -> list[tuple[int, bool]]:
        """Return the numbers of the batches that this process computes, and whether it keeps what comes out.

        Who has none left computes the last one for nothing, where the others cannot run the model without it.

        >>> Share(1, 2).turns(3), Share(1, 2, everywhere=True).turns(3)
        ([(1, True), (2, False)], [(1, True)])
        """
        if self.everywhere:
            return [(number, True) for number in range(self.number, batches, self.count)]
        found = range(self.number, self.number + -(-batches // self.count) * self.count, self.count)
        return [(min(number, batches - 1), number < batches) for number in found]


UNSHARED = Share()


@dataclass(frozen=True)
class SpreadLayout:
    """Say for each row of a layout which process holds it, and where.

    ``owner`` and ``place`` have an element per row, ``rows`` is how many this process holds.
    """

    owner: torch.Tensor
    place: torch.Tensor
    rows: int

    def places_of(self, process: int) -> torch.Tensor:
        """Return which rows of the layout a process computes, in their order."""
        return torch.nonzero(self.owner == process).reshape(-1)


def spread_layout(layout: Layout, sizes: Sequence[int], share: Share) -> SpreadLayout:
    """Lay out the rows of entries that are computed in batches of some sizes, which processes take in turn."""
    owner = torch.empty(layout.rows, dtype=torch.int32)
    place = torch.empty(layout.rows, dtype=torch.int64)
    held, start, entry = [0] * share.count, 0, 0
    for number, size in enumerate(sizes):
        rows = int(layout.counts[entry : entry + size].sum())
        process = number % share.count
        owner[start : start + rows] = process
        place[start : start + rows] = torch.arange(held[process], held[process] + rows)
        held[process] += rows
        start, entry = start + rows, entry + size
    return SpreadLayout(owner, place, held[share.number])


@dataclass(frozen=True)
class SpreadEntries(Entries):
    """Hold this process's rows of one boundary; the others hold theirs, and all read at the same time."""

    spread: SpreadLayout | None = field(default=None, repr=False)
    share: Share = UNSHARED

    def at(self, places: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Return a new tensor of some rows, wherever they are, in the shape of ``places`` and their tail."""
        assert self.spread is not None
        wanted = places.reshape(-1).cpu()
        found = torch.zeros((len(wanted), *self.layout.tail), dtype=self.layout.dtype, device=device)
        real = torch.nonzero(wanted < self.layout.rows).reshape(-1)
        owner = self.spread.owner[wanted[real]]
        order = torch.argsort(owner, stable=True)
        asked = self.spread.place[wanted[real][order]].to(device)
        counts = torch.bincount(owner, minlength=self.share.count)
        found[real[order].to(device)] = self._exchanged(asked, counts, device)
        return found.view(*places.shape, *self.layout.tail).to(dtype)

    def _exchanged(self, asked: torch.Tensor, counts: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Ask each process for some of its rows, ``counts`` of them; returns them in that order."""
        others = torch.empty_like(counts, device=device)
        processes.all_to_all_single(others, counts.to(device))
        given, taken = others.tolist(), counts.tolist()
        requests = torch.empty(sum(given), dtype=asked.dtype, device=device)
        processes.all_to_all_single(requests, asked, given, taken)
        rows = self.values.index_select(0, requests.to(self.values.device)).to(device)
        # As bytes: not every number format travels by itself.
        width = prod(self.layout.tail) * self.layout.dtype.itemsize
        sent = rows.contiguous().view(torch.uint8).reshape(len(rows), width)
        received = torch.empty((len(asked), width), dtype=torch.uint8, device=device)
        processes.all_to_all_single(received, sent, taken, given)
        return received.view(self.layout.dtype).view(len(asked), *self.layout.tail)
