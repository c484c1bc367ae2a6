"""Runs both sides of an export on the same inputs, and says how far apart their outputs are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.train.saved_run import SavedRun

TOLERANCE = 1e-5
"""How far outputs may be apart: what other batch mates and another order of sums round otherwise."""
ROWS = 16
Side = Callable[[Sequence[Any]], torch.Tensor]


def largest_difference(ours: Side, theirs: Side, values: Sequence[Any], rows: int = ROWS) -> float:
    """Return the largest difference between two sides' outputs on the same inputs, taken in batches of some rows."""
    largest = 0.0
    with torch.no_grad():
        for batch in batches(values, rows):
            one, other = ours(batch).float(), theirs(batch).float()
            if one.shape != other.shape or not (one.isfinite().all() and other.isfinite().all()):
                return float("inf")
            largest = max(largest, (one - other).abs().max().item())
    return largest


def batches(values: Sequence[Any], rows: int = ROWS) -> Iterator[Sequence[Any]]:
    """Yield the first input alone, then the others in batches of a few rows, in their order."""
    yield values[:1]
    for start in range(1, len(values), rows):
        yield values[start : start + rows]


def refused(reason: str, advice: str, *notes: str) -> DiagnosticError:
    """Return the diagnostic for an export that cannot be (FP570)."""
    return DiagnosticError([diagnostic("FP570", reason, help=advice, notes=list(notes))])


def encoded_of(run: SavedRun, values: Sequence[Any]) -> Any:
    """Return inputs as the run encodes them; of compared texts all first ones, then all second ones."""
    encoder = run.encoder
    return encoder.encode_apart(values) if getattr(encoder, "apart", False) else encoder.encode(values)


def batch_of(run: SavedRun, values: Sequence[Any]) -> dict[str, torch.Tensor]:
    """Return inputs as one batch for the run's backbone, on the CPU."""
    encoded = encoded_of(run, values)
    return run.encoder.batch(encoded, range(len(encoded)), torch.device("cpu"))


def logits_of(run: SavedRun, task: str) -> Side:
    """Return the run's own side: the logits of a task, those of padding 0."""

    def side(values: Sequence[Any]) -> torch.Tensor:
        batch = batch_of(run, values)
        return without_padding(run.model(task=task, **batch), batch)

    return side


def without_padding(logits: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return logits of tokens ``(rows, tokens, outputs)`` with 0 at padding, whose outputs mean nothing."""
    mask = batch.get("attention_mask")
    if logits.dim() != 3 or mask is None or mask.shape != logits.shape[:2]:
        return logits
    return logits.masked_fill(mask.unsqueeze(-1) == 0, 0.0)
