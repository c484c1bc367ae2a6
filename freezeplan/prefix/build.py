"""One pass over the distinct inputs that records all boundaries at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import accumulate

import torch
from torch import nn

from freezeplan.prefix.entries import Entries
from freezeplan.prefix.examples import Examples
from freezeplan.prefix.keeping import Keeper, Recording, keeper_for
from freezeplan.prefix.parts import PartsLayout
from freezeplan.prefix.proof import check_parts, check_stored
from freezeplan.prefix.refusal import Reason, Refused
from freezeplan.prefix.replay import record
from freezeplan.prefix.spread import UNSHARED, Share, spread_layout
from freezeplan.prefix.switching import preserving_state

CHECKED_ROWS = 3


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

    Of several processes that ``share`` a store each records its own batches. Returns the entries by
    boundary. Leaves no trace in the model, random state included; whatever ends it early (Ctrl-C too) leaves nothing
    behind. Raises :class:`Refused` when a size or number does not fit, the disk refuses, or the sample's outputs are
    not those of the uncached run.
    """
    with ExitStack() as stack:
        stack.enter_context(preserving_state(model))
        kept: dict[str, Keeper] = {}
        device = next(model.parameters()).device
        batches = list(examples.batches(batch_size))
        sizes = [len(rows) for _, rows in batches]
        for target in targets:
            spread = spread_layout(target.layout, sizes, share) if share.count > 1 else None
            keeper = keeper_for(target, spread, share, device)
            stack.callback(keeper.discard)
            kept[target.cut.boundary] = keeper
        _record_all(model, targets, kept, batches, make_batch, progress, share)
        finished = {name: keeper.finished() for name, keeper in kept.items()}
        for target in targets:
            entries = finished[target.cut.boundary]
            check = partial(_check_sample, model, target, entries, examples, make_batch)
            share.agreed(check, device)
        return {name: kept[name].publish(entries) for name, entries in finished.items()}


def _record_all(
    model: nn.Module,
    targets: Sequence[Recording],
    kept: Mapping[str, Keeper],
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
                kept[target.cut.boundary].append(packed)
            except Refused as error:
                # The other processes go on, and need this one.
                if share.count == 1:
                    raise
                flaw = error
                break
            finite &= packed.isfinite().all()
        if progress is not None:
            progress(ends[number], ends[-1])
    if share.any(flaw is not None, device):
        raise flaw or Refused(Reason.ELSEWHERE)
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
