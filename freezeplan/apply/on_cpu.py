"""What ``fully_shard`` exchanges on CPUs, without the copies that overlap with computing elsewhere and not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as processes
from torch.distributed.fsdp import FSDPModule


def save_memory(model: torch.nn.Module) -> None:
    """Let a sharded model on a CPU hold no more of its units than the one that runs.

    gloo copies what it gathers or reduces, and ``fully_shard`` gathers one unit ahead and keeps what it has reduced
    until the next unit. That hides the exchange behind kernels of an accelerator; on a CPU all is done in turn.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            gather: Any = Gather()
            reduce: Any = Reduce()
            module.set_custom_all_gather(gather)
            module.set_custom_reduce_scatter(reduce)
            # A unit that is there already: nothing is gathered ahead.
            module.set_modules_to_backward_prefetch([module])


class Exchange:
    """Make the tensors that are exchanged."""

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Return a tensor to be filled."""
        return torch.empty(*size, dtype=dtype, device=device)


class Gather(Exchange):
    """Gather the parts of all processes in the place where they are wanted."""

    def __call__(
        self,
        output_tensor: torch.Tensor,
        input_tensor: torch.Tensor,
        group: processes.ProcessGroup,
        async_op: bool = False,
    ) -> None:
        """Fill a tensor of which this process's part is the input, a view of it."""
        for rank, part in enumerate(output_tensor.chunk(group.size())):
            processes.broadcast(part, group=group, group_src=rank)


class Reduce(Exchange):
    """Add up the parts of all processes in their place, each in the process that it is for."""

    def __call__(
        self,
        output_tensor: torch.Tensor,
        input_tensor: torch.Tensor,
        group: processes.ProcessGroup,
        op: Any,
        async_op: bool = False,
    ) -> None:
        """Fill a tensor with the sum of this process's part; the input is used up."""
        parts = input_tensor.chunk(group.size())
        for rank, part in enumerate(parts):
            processes.reduce(part, op=op, group=group, group_dst=rank)
        output_tensor.copy_(parts[group.rank()])
        input_tensor.untyped_storage().resize_(0)
