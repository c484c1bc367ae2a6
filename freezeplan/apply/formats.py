"""The number format that a tensor computes in, where it rests in another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

COMPUTES_IN = "_computes_in"
"""Where a tensor that rests holds the number format that it computes in."""


def computes_in(tensor: torch.Tensor) -> torch.dtype | None:
    """Return the number format that a resting tensor computes in, None for any other."""
    return tensor.__dict__.get(COMPUTES_IN)


def kept_in(tensor: torch.Tensor) -> torch.dtype:
    """Return the number format that a tensor is stored in, whatever it computes in."""
    import torch

    with torch._C.DisableTorchFunctionSubclass():
        return tensor.dtype
