"""The number formats that a forward pass computes in, beside those that weights are kept in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch

PRECISIONS: Mapping[str, torch.dtype | None] = {
    "float32": None,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""What autocast computes in, by the names of ``train.precision``; None where each tensor's own format counts."""


def computing_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which matrices are multiplied in a precision; torch says which operations stay in float32.

    >>> with computing_in("bf16", torch.device("cpu")):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
