"""One pass over the distinct inputs that records all boundaries at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import nn

from freezeplan.prefix.entries import Entries, Layout
from freezeplan.prefix.examples import Examples
from freezeplan.prefix.files import FileWriter, StoreFile, mapped, state_of
from freezeplan.prefix.keys import Key
from freezeplan.prefix.parts import PartsLayout
from freezeplan.prefix.proof import check_parts, check_stored
from freezeplan.prefix.refusal import Reason, Refused
from freezeplan.prefix.replay import Cut, record
from freezeplan.prefix.spread import UNSHARED, Share, SpreadEntries, SpreadLayout, spread_layout
from freezeplan.prefix.switching import preserving_state

CHECKED_ROWS = 3


@dataclass(frozen=True)
class Recording:
    """Say what to record and where to keep it: in memory on ``device``, or in ``file``."""

    cut: Cut
    layout: Layout
    key: Key
    device: torch.device
    file: StoreFile | None


class _Memory:
    """Fill an array in memory from its first row on; of a spread layout, with this process's rows alone."""

    def __init__(self, target: Recording, spread: SpreadLayout | None, share: Share) -> None:
        self.target, self.spread, self.share = target, spread, share
        layout = target.layout
        shape = layout.shape if spread is None else (spread.rows, *layout.tail)
        self.values = torch.zeros(shape, dtype=layout.dtype, device=target.device)
        self.rows = 0

    def append(self, rows: torch.Tensor) -> None:
        self.values[self.rows : self.rows + len(rows)].copy_(rows)
        self.rows += len(rows)

    def finished(self) -> Entries:
        if self.spread is None:
            return Entries(self.target.layout, self.values)
        return SpreadEntries(self.target.layout, self.values, spread=self.spread, share=self.share)

    def publish(self, entries: Entries) -> Entries:
        return entries

    def discard(self) -> None:
        pass


class _File:
    """Fill a file that is valid only once it is published."""

    def __init__(self, target: Recording) -> None:
        self.target, self.file = target, target.file
        self.writer = FileWriter(target.file, target.layout.nbytes)

    def append(self, rows: torch.Tensor) -> None:
        self.writer.append(rows)

    def finished(self) -> Entries:
        layout = self.target.layout
        self.writer.append(torch.zeros((1, *layout.tail), dtype=layout.dtype))
        return Entries(layout, mapped(self.file.partial, layout.shape, layout.dtype))

    def publish(self, entries: Entries) -> Entries:
        self.file.publish(self.target.key, self.writer.crc32)
        return Entries(entries.layout, entries.values, self.file.numbers, state_of(self.file.numbers))

    def discard(self) -> None:
        self.writer.close()
        self.file.partial.unlink(missing_ok=True)


def build_entries(
    model: nn.Module,
    targets: Sequence[Recording],
    examples: Examples,
    make_batch: Callable[[str, Sequence[int]], Mapping[str, torch.Tensor]],
    batch_size: int,
    progress: Callable[[int, int], None] | None = None,
    share: Share = UNSHARED,
) -> dict[str, Entries]:
    """Record every target in one pass, prove a sample of it, and only then make files valid.

    Of several processes that ``share`` a store each records its own batches, in memory. Returns the entries by
    boundary. Leaves no trace in the model, random state included; whatever ends it early (Ctrl-C too) leaves nothing
    behind. Raises :class:`Refused` when a size or number does not fit, the disk refuses, or the sample's outputs are
    not those of the uncached run.
    """
    with ExitStack() as stack:
        stack.enter_context(preserving_state(model))
        kept = {}
        batches = list(examples.batches(batch_size))
        sizes = [len(rows) for _, rows in batches]
        for target in targets:
            spread = spread_layout(target.layout, sizes, share) if share.count > 1 else None
            keeper = _File(target) if target.file else _Memory(target, spread, share)
            stack.callback(keeper.discard)
            kept[target.cut.boundary] = keeper
        _record_all(model, targets, kept, batches, make_batch, progress, share)
        finished = {name: keeper.finished() for name, keeper in kept.items()}
        for target in targets:
            _check_sample(model, target, finished[target.cut.boundary], examples, make_batch)
        return {name: kept[name].publish(entries) for name, entries in finished.items()}


def _record_all(
    model: nn.Module,
    targets: Sequence[Recording],
    kept: Mapping[str, _Memory | _File],
    batches: Sequence[tuple[str, Sequence[int]]],
    make_batch: Callable[[str, Sequence[int]], Mapping[str, torch.Tensor]],
    progress: Callable[[int, int], None] | None,
    share: Share,
) -> None:
    cuts, device = [target.cut for target in targets], next(model.parameters()).device
    ends = list(accumulate(len(rows) for _, rows in batches))
    # One flag for all batches, read once: asking each time would make an accelerator wait.
    finite = torch.ones((), dtype=torch.bool, device=device)
    flaw: Refused | None = None
    for number, keeps in share.turns(len(batches)):
        source, rows = batches[number]
        batch = make_batch(source, rows)
        found = record(model, cuts, batch)
        entries = range(ends[number] - len(rows), ends[number])
        for target in targets if keeps and flaw is None else ():
            try:
                packed = _packed(model, target, found[target.cut.boundary], batch, entries)
            except Refused as error:
                # The other processes go on, and need this one.
                if share.count == 1:
                    raise
                flaw = error
                break
            finite &= packed.isfinite().all()
            kept[target.cut.boundary].append(packed)
        if progress is not None:
            progress(ends[number], ends[-1])
    if share.any(flaw is not None, device):
        raise flaw or Refused(Reason.UNEVEN, "in another process")
    if share.any(not bool(finite), device):
        raise Refused(Reason.NOT_FINITE, ", ".join(sorted({str(target.layout.dtype) for target in targets})))


def _packed(
    model: nn.Module,
    target: Recording,
    output: torch.Tensor,
    batch: Mapping[str, torch.Tensor],
    entries: Sequence[int],
) -> torch.Tensor:
    if isinstance(target.layout, PartsLayout):
        return target.layout.packed_parts(model.parts(output), entries)
    return target.layout.packed(output, batch, entries[0])


def _check_sample(
    model: nn.Module,
    target: Recording,
    entries: Entries,
    examples: Examples,
    make_batch: Callable[[str, Sequence[int]], Mapping[str, torch.Tensor]],
) -> None:
    """Replay some rows of the shorter half together; they were recorded among rows of their own length."""
    source, rows = next((source, rows) for source, rows in examples.spans if len(rows))
    step = max(1, len(rows) // 2 // CHECKED_ROWS)
    chosen = rows[::-step][:CHECKED_ROWS].tolist()
    places = examples.entries[source][chosen].tolist()
    device = next(model.parameters()).device
    if isinstance(target.layout, PartsLayout):
        found = entries.at(target.layout.rows_of(places), device, target.cut.dtype)
        check_parts(model, target.cut, make_batch(source, chosen), found, target.layout, places)
        return

    def stored(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return entries.batch(places, inputs, device, target.cut.dtype)

    check_stored(model, target.cut, make_batch(source, chosen), stored, target.layout.dtype)
