"""Steps that change nothing: weights kept in 16 bits, and updates below their resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from freezeplan.apply.tensors import whole
from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import format_percent
from freezeplan.spec.locations import at_key

STEPS = 5
"""How many steps are looked at, the first in which a rate is above 0."""


def lost_advice(lost: int, asked: int) -> Diagnostic:
    """Return the warning (FP512) that so many of the elements that were asked to change did not."""
    share = format_percent(lost, asked)
    message = (
        f"{share} of the updates in the first {STEPS} steps are below the resolution of bfloat16, and lost"
    )
    advice = 'remove `dtype`, and compute in half precision by `train.precision = "bf16"`'
    return at_key(("model", "dtype"), "FP512", message, help=advice)


class LostUpdates:
    """Count, in the first steps, the elements of weights kept in bfloat16 that had a gradient and stayed as they were.

    A bfloat16 number has 8 bits: an update of less than about a 256th of a weight rounds to nothing. ``tell`` is called
    once, with the number of such elements and of those that had a gradient, all steps together. Other weights cost
    nothing here.
    """

    def __init__(self, tensors: Sequence[torch.nn.Parameter], tell: Callable[[int, int], None]) -> None:
        self.narrow = [tensor for tensor in tensors if tensor.dtype is torch.bfloat16]
        self.left = STEPS if self.narrow else 0
        self.tell = tell
        self.lost = self.asked = 0

    @contextmanager
    def watching(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Watch the step that is taken within the block."""
        before = list(self._asked(optimizer)) if self.left else []
        yield
        for tensor, old, asked in before:
            self.lost += int(whole((asked & (tensor.detach() == old)).sum()))
            self.asked += int(whole(asked.sum()))
        if self.asked and before:
            self.left -= 1
            if not self.left:
                self.tell(self.lost, self.asked)

    def _asked(
        self, optimizer: torch.optim.Optimizer
    ) -> Iterator[tuple[torch.nn.Parameter, torch.Tensor, torch.Tensor]]:
        rates = {id(tensor): group["lr"] for group in optimizer.param_groups for tensor in group["params"]}
        for tensor in self.narrow:
            if tensor.grad is not None and rates.get(id(tensor), 0.0) > 0.0:
                yield tensor, tensor.detach().clone(), tensor.grad != 0
