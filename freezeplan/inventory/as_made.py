"""Whether a tensor needed a gradient before any plan was put on its model."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any


@cache
def _before() -> Any:
    from torch.utils.weak import WeakIdKeyDictionary

    return WeakIdKeyDictionary()


def note_as_made(tensors: Iterable[Any]) -> None:
    """Note of each tensor whether it needs a gradient, unless that was noted before: a plan is about to change it."""
    known = _before()
    for tensor in tensors:
        known.setdefault(tensor, tensor.requires_grad)


def forget_as_made(tensors: Iterable[Any]) -> None:
    """Forget what was noted of tensors: they are again as they were, and no plan is on them."""
    known = _before()
    for tensor in tensors:
        known.pop(tensor, None)


def needs_gradient_as_made(tensor: Any) -> bool:
    """Tell whether a tensor needed a gradient before the first plan; of one that had none, whether it does now.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> note_as_made([weight])
    >>> needs_gradient_as_made(weight.requires_grad_(False))
    True
    """
    found: bool = _before().get(tensor, tensor.requires_grad)
    return found
