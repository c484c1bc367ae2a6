"""The state of every source of random numbers: torch on the CPU and on CUDA, Python, numpy."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from typing import Any

import numpy
import torch


def randomness() -> dict[str, Any]:
    """Return the state of every source as plain JSON types."""
    version, numbers, normal = random.getstate()
    kind, keys, place, has_normal, cached = numpy.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "torch": _text(torch.get_rng_state()),
        "cuda": [_text(state) for state in cuda],
        "python": [version, list(numbers), normal],
        "numpy": [kind, [int(key) for key in keys], int(place), int(has_normal), float(cached)],
    }


def set_randomness(record: Mapping[str, Any]) -> None:
    """Put every source into a state that :func:`randomness` returned.

    >>> state = randomness()
    >>> first = torch.rand(3), random.random(), numpy.random.rand()
    >>> set_randomness(state)
    >>> bool((torch.rand(3) == first[0]).all()), (random.random(), numpy.random.rand()) == first[1:]
    (True, True)
    """
    torch.set_rng_state(_tensor(record["torch"]))
    if record["cuda"] and torch.cuda.device_count() == len(record["cuda"]):
        torch.cuda.set_rng_state_all([_tensor(state) for state in record["cuda"]])
    version, numbers, normal = record["python"]
    random.setstate((version, tuple(numbers), normal))
    kind, keys, place, has_normal, cached = record["numpy"]
    numpy.random.set_state((kind, numpy.array(keys, dtype=numpy.uint32), place, has_normal, cached))


def _text(state: torch.Tensor) -> str:
    return base64.b64encode(state.cpu().numpy().tobytes()).decode()


def _tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
