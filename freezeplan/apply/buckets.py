"""Adding up the gradients of several processes: many small tensors travel as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import torch

BUCKET_BYTES = 25 * 1024**2
"""How much travels at once: as much as DistributedDataParallel sends."""


def sum_in_buckets(
    tensors: Sequence[torch.nn.Parameter], summed: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """Give each tensor the gradient that ``summed`` makes of its own; one without a gradient counts as zeros.

    ``summed`` is given flat arrays and returns such a one, of the same size. What it returned is then the storage of
    the gradients.
    """
    for bucket in _buckets(tensors):
        parts = [_gradient(tensor).reshape(-1) for tensor in bucket]
        total = summed(torch.cat(parts)).split([len(part) for part in parts])
        for tensor, gradient in zip(bucket, total, strict=True):
            tensor.grad = gradient.view_as(tensor)


def _gradient(tensor: torch.nn.Parameter) -> torch.Tensor:
    return tensor.grad if tensor.grad is not None else torch.zeros_like(tensor)


def _buckets(tensors: Sequence[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    """Yield tensors of one number format together, in their order, up to a size."""
    for _, alike in groupby(tensors, key=lambda tensor: tensor.dtype):
        bucket: list[torch.nn.Parameter] = []
        for tensor in alike:
            if bucket and sum(item.nbytes for item in (*bucket, tensor)) > BUCKET_BYTES:
                yield bucket
                bucket = []
            bucket.append(tensor)
        yield bucket
