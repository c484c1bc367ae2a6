"""The self-check: a replay gives the same numbers as the run that it replaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import nn

from freezeplan.apply.tensors import whole
from freezeplan.models.precision import PRECISIONS
from freezeplan.prefix.observation import copied
from freezeplan.prefix.parts import PartsLayout
from freezeplan.prefix.refusal import Reason, Refused
from freezeplan.prefix.replay import Cut, prefix_in_eval_mode, record, replaying
from freezeplan.prefix.sharded import gradients, pooled
from freezeplan.prefix.switching import preserving_state, same_tensors

# How far outputs may be apart, relative to the largest, where other batch mates or a narrower format round
# otherwise. A tenth of it is usual; a model in which a neighbour matters is out by far more.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
Outcome = tuple[list[torch.Tensor], list[torch.Tensor | None]]


def check_same_batch(model: nn.Module, cut: Cut, batch: Mapping[str, torch.Tensor]) -> None:
    """Make sure that a replay of what a batch records equals the uncached run of that very batch.

    Outputs, gradients and the set of tensors that get one are compared bit for bit, in the mode that the model
    is in and from the same random state; where the uncached run does not even repeat itself (some kernels of
    accelerators), to a tolerance. Leaves no trace in the model. Raises :class:`Refused` (HIDDEN_PATH).
    """
    stored = record(model, [cut], copied(batch))[cut.boundary]
    expected = _outcome(model, batch, prefix_in_eval_mode(model, cut))
    found = _attempt(model, batch, replaying(model, cut, lambda inputs: stored.clone()))
    if _identical(found, expected):
        return
    again = _outcome(model, batch, prefix_in_eval_mode(model, cut))
    if _identical(again, expected) or not _close(found, expected, TOLERANCES[torch.float32]):
        raise Refused(Reason.HIDDEN_PATH, _difference(found, expected))


def check_stored(
    model: nn.Module,
    cut: Cut,
    batch: Mapping[str, torch.Tensor],
    stored: Callable[[Mapping[str, torch.Tensor]], torch.Tensor],
    format: torch.dtype,
) -> None:
    """Make sure that stored entries give a batch the outputs of the uncached run, up to rounding.

    The entries were computed among other batch mates: a model in which padding or a neighbour matters shows it
    here. ``format`` is the number format of the store. Raises :class:`Refused` (PADDING).
    """
    with torch.no_grad():
        expected = _pooled(model, batch, prefix_in_eval_mode(model, cut))
        found = _pooled(model, batch, replaying(model, cut, stored))
    _check_near(found, expected, model, cut, format)


def _check_near(
    found: torch.Tensor, expected: torch.Tensor, model: nn.Module, cut: Cut, format: torch.dtype
) -> None:
    # A residual stream may stay in float32 while the matrices that feed it are multiplied in 16 bits.
    computing = PRECISIONS[getattr(model, "precision", "float32")] or cut.dtype
    tolerance = max(TOLERANCES.get(kind, 1e-1) for kind in (format, cut.dtype, computing))
    if not _near(found, expected, tolerance):
        raise Refused(Reason.PADDING, f"outputs differ by {_distance(found, expected):.1e}")


def check_parts(
    model: nn.Module,
    cut: Cut,
    batch: Mapping[str, torch.Tensor],
    stored: torch.Tensor,
    layout: PartsLayout,
    entries: Sequence[int],
) -> None:
    """Make sure that the rows that are stored of some entries are those of the uncached run, up to rounding.

    As :func:`check_stored` does, of a whole backbone in parts.
    """
    with torch.no_grad():
        output = _pooled(model, batch, prefix_in_eval_mode(model, cut))
        expected = layout.packed_parts(model.parts(output), entries)
    _check_near(stored, expected, model, cut, layout.dtype)


def _pooled(
    model: nn.Module, batch: Mapping[str, torch.Tensor], mode: AbstractContextManager[None]
) -> torch.Tensor:
    with preserving_state(model), mode:
        return pooled(model, copied(batch)).detach()


def _attempt(
    model: nn.Module, batch: Mapping[str, torch.Tensor], mode: AbstractContextManager[None]
) -> Outcome:
    try:
        return _outcome(model, batch, mode)
    except (torch.OutOfMemoryError, Refused):
        raise
    except Exception as error:  # whatever the model's own code makes of a phantom
        first = str(error).strip().partition("\n")[0]
        raise Refused(Reason.HIDDEN_PATH, f"{type(error).__name__}: {first}") from error


def _outcome(
    model: nn.Module, batch: Mapping[str, torch.Tensor], mode: AbstractContextManager[None]
) -> Outcome:
    trained = [tensor for tensor in model.parameters() if tensor.requires_grad]
    with preserving_state(model), torch.enable_grad(), mode:
        output = pooled(model, copied(batch))
        if not output.requires_grad:
            return [output], [None] * len(trained)
        # Unequal weights, so that differences cannot cancel out as they might in a plain sum.
        weights = torch.linspace(0.5, 1.5, output.numel(), device=output.device).view(output.shape)
        loss = (output.float() * weights).sum()
        return [output.detach()], gradients(loss, trained)


def _identical(found: Outcome, expected: Outcome) -> bool:
    if [item is None for item in found[1]] != [item is None for item in expected[1]]:
        return False
    return same_tensors(_flat(found), _flat(expected))


def _close(found: Outcome, expected: Outcome, tolerance: float) -> bool:
    if [item is None for item in found[1]] != [item is None for item in expected[1]]:
        return False
    return all(_near(a, b, tolerance) for a, b in zip(_flat(found), _flat(expected), strict=True))


def _flat(outcome: Outcome) -> list[torch.Tensor]:
    return [*outcome[0], *(item for item in outcome[1] if item is not None)]


def _near(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    scale = max(1.0, float(whole(expected).abs().max())) if expected.numel() else 1.0
    # A NaN distance is no small one.
    return found.shape == expected.shape and _distance(found, expected) <= tolerance * scale


def _distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((whole(found).double() - whole(expected).double()).abs().max()) if found.numel() else 0.0


def _difference(found: Outcome, expected: Outcome) -> str:
    (left,), (right,) = found[0], expected[0]
    if left.shape != right.shape:
        return f"outputs of shape {tuple(left.shape)}, not {tuple(right.shape)}"
    if left.isnan().any():
        return "something reads what a block below the cut returned"
    if not torch.equal(left, right):
        return f"outputs differ by {_distance(left, right):.1e}"
    return "gradients differ"
