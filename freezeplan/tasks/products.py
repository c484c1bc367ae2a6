"""Matrix products on a CPU by oneDNN, where the library that torch takes by itself may use half of its width."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

WIDE = "AVX512"


def fast_products(device: torch.device) -> AbstractContextManager[object]:
    """Compute linear maps of float32 within the block by oneDNN, where that can pay: on a CPU with AVX-512.

    torch takes MKL by itself, which may use no more than AVX2 on processors that are not Intel's; oneDNN uses what
    there is. The numbers are of the same precision, and differ by rounding. Gradients are those of torch's own
    ``mkldnn_linear``. Everything else runs as it is, and all does where ``torch.backends.mkldnn.enabled`` is False.

    >>> with fast_products(torch.device("cpu")):
    ...     tuple(torch.nn.Linear(2, 3)(torch.ones(1, 2)).shape)
    (1, 3)
    """
    return _ByOneDNN() if device.type == "cpu" and _pays() else nullcontext()


def _pays() -> bool:
    mkldnn = torch.backends.mkldnn
    return mkldnn.is_available() and mkldnn.enabled and WIDE in torch.backends.cpu.get_cpu_capability()


class _ByOneDNN(TorchFunctionMode):
    """Hand the states of each linear map to torch's implementation for oneDNN, and its result back as it was."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function of torch; linear maps of plain float32 tensors by oneDNN."""
        given = dict(kwargs or {})
        if func is not linear or not _plain((*args, *given.values())):
            return func(*args, **given)
        states, *others = args
        return func(states.to_mkldnn(), *others, **given).to_dense()


def _plain(tensors: Sequence[Any]) -> bool:
    """Whether all are dense float32 tensors on the CPU, not of a class that does more, nor computed in 16 bits."""
    return not torch.is_autocast_enabled("cpu") and all(
        tensor is None
        or (
            type(tensor) in (torch.Tensor, torch.nn.Parameter)
            and tensor.dtype == torch.float32
            and tensor.layout == torch.strided
            and tensor.device.type == "cpu"
            and tensor.numel() > 0
        )
        for tensor in tensors
    )
