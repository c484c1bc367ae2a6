"""A hash for every tensor and buffer of a model, under the names of the plan."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch

from freezeplan.apply.tensors import is_shared_out, parameters_by_name, whole


@dataclass(frozen=True)
class _Stamp:
    """Remember which tensor was hashed, where it lay, and how often it had been written to in place."""

    tensor: int
    address: int
    version: int


@dataclass(frozen=True)
class Fingerprints:
    """Map names to the sha256 (hex) of each parameter's and each buffer's bytes at one moment."""

    parameters: dict[str, str]
    buffers: dict[str, str]
    _stamps: Mapping[str, _Stamp] = field(default_factory=dict, repr=False, compare=False)

    @property
    def everything(self) -> dict[str, str]:
        """All of them, parameters first."""
        return {**self.parameters, **self.buffers}

    def as_record(self) -> dict[str, dict[str, str]]:
        """Return the JSON form: the arguments of an equal object."""
        return {"parameters": self.parameters, "buffers": self.buffers}


def fingerprints(
    model: torch.nn.Module, *, since: Fingerprints | None = None, still: Collection[str] = ()
) -> Fingerprints:
    """Hash every parameter and every buffer of a model, a tied tensor once, under its first name.

    Without ``since`` every byte is read: that is the proof. With it, a tensor named in ``still`` keeps the hash
    that it has there as long as it is the same tensor at the same address and torch counts no write to it since.
    Writes through ``.data`` or another library are not counted, so this is for the times between two proofs.

    >>> model = torch.nn.Linear(2, 2)
    >>> before = fingerprints(model)
    >>> fingerprints(model, since=before, still={"weight"}) == before
    True
    """
    parameters, buffers = parameters_by_name(model), dict(model.named_buffers())
    tensors = {**parameters, **buffers}
    stamps = {name: stamp for name, tensor in tensors.items() if (stamp := _stamp(tensor))}
    known = _still_known(since, still, stamps) if since is not None else {}
    hashes = {name: known.get(name) or sha256(tensor) for name, tensor in tensors.items()}
    return Fingerprints(
        {name: hashes[name] for name in parameters}, {name: hashes[name] for name in buffers}, stamps
    )


def _still_known(since: Fingerprints, still: Collection[str], stamps: Mapping[str, _Stamp]) -> dict[str, str]:
    """Return the hashes of those that nothing was seen to write to."""
    before = since.everything
    return {
        name: before[name]
        for name in still
        if name in before and name in stamps and since._stamps.get(name) == stamps[name]
    }


def _stamp(tensor: torch.Tensor) -> _Stamp | None:
    # Tensors made in inference mode count no writes, nor do all that write to shared ones: they are always hashed.
    if tensor.is_inference() or is_shared_out(tensor):
        return None
    return _Stamp(id(tensor), tensor.data_ptr(), tensor._version)


def sha256(tensor: torch.Tensor) -> str:
    """Return the sha256 (hex) of a tensor's elements in row order; equal exactly when all bits are equal.

    Of a tensor that is shared out among processes all must ask for it, at the same time.

    >>> sha256(torch.zeros(2)) == sha256(torch.zeros(2)), sha256(torch.zeros(1)) == sha256(-torch.zeros(1))
    (True, False)
    """
    raw = whole(tensor).cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(raw.numpy()).hexdigest()
