"""A hash for every tensor and buffer of a model, under the names of the plan."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from freezeplan.apply.tensors import parameters_by_name


@dataclass(frozen=True)
class Fingerprints:
    """Map names to the sha256 (hex) of each parameter's and each buffer's bytes at one moment."""

    parameters: dict[str, str]
    buffers: dict[str, str]

    @property
    def everything(self) -> dict[str, str]:
        """All of them, parameters first."""
        return {**self.parameters, **self.buffers}


def fingerprints(model: torch.nn.Module) -> Fingerprints:
    """Hash every parameter and every buffer of a model, a tied tensor once, under its first name."""
    return Fingerprints(
        {name: sha256(tensor) for name, tensor in parameters_by_name(model).items()},
        {name: sha256(tensor) for name, tensor in model.named_buffers()},
    )


def sha256(tensor: torch.Tensor) -> str:
    """Return the sha256 (hex) of a tensor's elements in row order; equal exactly when all bits are equal.

    >>> sha256(torch.zeros(2)) == sha256(torch.zeros(2)), sha256(torch.zeros(1)) == sha256(-torch.zeros(1))
    (True, False)
    """
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy()).hexdigest()
