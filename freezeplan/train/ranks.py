"""The processes of one run, called ranks: what each takes of a batch, and what they tell one another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as processes

from freezeplan.apply.buckets import sum_in_buckets
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import counted, first_few, first_line
from freezeplan.runs.evidence import SHOWN
from freezeplan.train.batches import Part

GLOO = "gloo"
Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """Know which of a run's processes this is: ``number`` of ``count``, from 0.

    ``together`` tells that a forward pass takes all of them: none may leave one out that the others run.

    All ranks run the same program in step: each method that exchanges something must be called by all of them,
    in the same order, and returns once all have called it. With one process none of them does anything. When
    another process has gone, they raise ``DiagnosticError`` (FP556).
    """

    number: int = 0
    count: int = 1
    device: torch.device = torch.device("cpu")
    together: bool = False

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.number == 0

    def own(self, part: Part) -> Part:
        """Return what this rank takes of a batch: every ``count``-th row; of a small batch perhaps none.

        Every row is taken by one rank, and a loss is a sum over rows: the sum of the ranks' gradients is that of the
        whole batch.

        >>> part = Part("topic", (5, 3, 8))
        >>> [Ranks(number, 2).own(part).rows for number in range(2)]
        [(5, 8), (3,)]
        """
        return part if self.count == 1 else Part(part.task, part.rows[self.number :: self.count])

    def gather(self, value: Value) -> list[Value]:
        """Return every rank's value, in the order of the ranks."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        with _company():
            processes.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Return when all ranks have come here."""
        self.gather(None)

    def announce(self, value: object) -> None:
        """Tell the other ranks, where they hold parts of the model, what the first is about to gather."""
        if self.together:
            self.gather(value)

    def announced(self, nothing: Value) -> Value:
        """Return what the first rank has announced to this one, ``nothing`` where no rank waits for it."""
        return nothing if self.first or not self.together else self.gather(nothing)[0]

    def summed(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum of the ranks' tensors: the same bits on each of them."""
        if self.count == 1:
            return tensor
        total = tensor.clone()
        with _company():
            processes.all_reduce(total)
        return total

    def differing(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names whose value is not the same on all ranks, in the order of this rank's."""
        digest = hashlib.sha256(json.dumps(list(values.items())).encode()).hexdigest()
        if len(set(self.gather(digest))) == 1:
            return ()
        everyone = self.gather(dict(values))
        names = dict.fromkeys(name for found in (values, *everyone) for name in found)
        return tuple(name for name in names if len({found.get(name) for found in everyone}) > 1)

    def check_same(self, values: Mapping[str, str], step: int) -> None:
        """Raise ``DiagnosticError`` (FP555) where a value is not the same on all ranks after so many steps."""
        found = self.differing(values)
        if found:
            when = counted(step, "step")
            message = f"the {self.count} processes do not hold the same after {when}: {found[0]} differs"
            raise DiagnosticError([diagnostic("FP555", message, notes=first_few(found, SHOWN)[1:])])

    def set_summed_gradients(self, tensors: Sequence[torch.nn.Parameter]) -> None:
        """Put the sum of the ranks' gradients in the place of each one's own.

        A tensor that has a gradient on some rank gets one on all; one that has none anywhere keeps none, so that
        no optimizer moves it.
        """
        if self.count == 1 or not tensors:
            return
        has = [tensor.grad is not None for tensor in tensors]
        anywhere = self.summed(torch.tensor(has, dtype=torch.int32, device=self.device)).tolist()
        reached = [tensor for tensor, ranks in zip(tensors, anywhere, strict=True) if ranks]
        sum_in_buckets(reached, self.summed)

    def set_buffers_of_first(self, model: torch.nn.Module) -> None:
        """Give modules in training mode the statistics that the first rank's have gathered (BatchNorm's)."""
        if self.count == 1:
            return
        with _company():
            for module in model.modules():
                own = list(module.buffers(recurse=False))
                if module.training and any(buffer.is_floating_point() for buffer in own):
                    for buffer in own:
                        processes.broadcast(buffer, 0)


@contextmanager
def _company() -> Iterator[None]:
    """Give the end of another process a diagnostic."""
    try:
        yield
    except RuntimeError as error:
        raise DiagnosticError([gone(error)]) from error


def is_about_another(error: Exception) -> bool:
    """Tell whether an error came from an exchange with other processes: of gloo's, torch has no class."""
    return isinstance(error, processes.DistError) or (
        isinstance(error, RuntimeError) and GLOO in str(error).lower()
    )


def gone(error: Exception) -> Diagnostic:
    """Return what is to be said where an exchange with other processes failed (FP556)."""
    message = "another process of the run ended, or cannot be reached: this one cannot go on alone"
    advice = "look for what the other processes printed; then go on with `freezeplan train --resume`"
    return diagnostic("FP556", message, help=advice, notes=[first_line(error)])


ALONE = Ranks()
