"""One model on fake tensors, ready to take the steps that training would take."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from freezeplan.apply.widening import WideningMode
from freezeplan.cost.inputs import Inputs, first_floats
from freezeplan.cost.sharing import ALONE, Sharing
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_line
from freezeplan.models.precision import computing_in
from freezeplan.outside.quiet import quiet
from freezeplan.spec.tables import TrainTable
from freezeplan.tasks import TaskKind


@dataclass(frozen=True)
class Trial:
    """Hold a model whose tensors are fake, and how it is to be trained.

    ``tasks`` maps the names of the heads to their kinds; a spec without tasks has None, and its loss is the
    mean of the model's first output of floating-point numbers. ``evaluates`` tells whether there is anything to
    evaluate on. ``batch_sizes`` maps the tasks whose batches have a size of their own to it. Of processes that share
    a run it is the trial of one.
    """

    model: nn.Module
    mode: FakeTensorMode
    inputs: Inputs
    tasks: Mapping[str, TaskKind] | None
    train: TrainTable
    batch_size: int
    evaluates: bool = False
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    sharing: Sharing = ALONE

    def whole_batch(self, objective: str) -> int:
        """Return the rows of one batch of an objective, of all processes."""
        return self.batch_sizes.get(objective, self.batch_size)

    def size_of(self, objective: str) -> int:
        """Return the rows of one batch of an objective that one process runs."""
        return self.sharing.rows(self.whole_batch(objective))

    @property
    def objectives(self) -> tuple[str, ...]:
        """What losses there are: one per task, or one that carries the model's class."""
        return (type(self.model).__name__,) if self.tasks is None else tuple(self.tasks)

    def loss(self, objective: str) -> torch.Tensor:
        """Return one batch's loss, as the training loop computes it from logits."""
        output = self.output(objective, self.size_of(objective))
        if self.tasks is None:
            return output.float().mean()
        kind = self.tasks[objective]
        out = kind.by_row(output.float(), self.size_of(objective))
        return kind.loss(out, kind.blank(out)) / len(out)

    def evaluate(self, objective: str, rows: int) -> None:
        """Run what an evaluation runs: of the model's own head, the losses of all tokens too."""
        out = self.output(objective, rows)
        if self.tasks is not None and self.tasks[objective].own_head:
            self.tasks[objective].losses(out, self.tasks[objective].blank(out))

    def batch(self, objective: str, rows: int) -> dict[str, torch.Tensor]:
        """Return the inputs of some rows; a task that compares has several texts in each."""
        return self.inputs.batch(self.texts_of(objective) * rows)

    def texts_of(self, objective: str) -> int:
        """Return how many texts of a row run by themselves."""
        return 1 if self.tasks is None else self.tasks[objective].texts

    def output(self, objective: str, rows: int) -> Any:
        """Return the logits of a task, or the first floating-point output of the model.

        Of the model's own head that is what stands for the logits.
        """
        batch = self.batch(objective, rows)
        if self.tasks is not None and self.tasks[objective].own_head:
            return self.model(task=objective, by_token=True, **batch)
        if self.tasks is not None:
            return self.model(task=objective, **batch)
        with computing_in(self.train.precision, torch.device("cpu")):
            found = first_floats(self.model(**batch))
        if found is None:
            message = f"`{type(self.model).__name__}` puts out no floating-point numbers"
            raise DiagnosticError([diagnostic("FP480", message)])
        return found

    def learning(self) -> tuple[str, ...]:
        """Return the objectives whose loss reaches a trainable tensor, as autograd sees it."""
        with self.running():
            return tuple(name for name in self.objectives if self.loss(name).requires_grad)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run on fake tensors; raises ``DiagnosticError`` (FP480) for what cannot run without values."""
        try:
            with quiet(), _unlogged(), self.mode, WideningMode():
                yield
        except DiagnosticError:
            raise
        except Exception as error:
            name = type(self.model if self.tasks is None else self.model.backbone).__name__
            message = f"`{name}` cannot run on tensors without values: {_reason(error)}"
            raise DiagnosticError(
                [diagnostic("FP480", message, help="measure a short run instead")]
            ) from None


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep torch from writing the traceback of a failure to standard error: the diagnostic says it."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _reason(error: Exception) -> str:
    if isinstance(error, (DataDependentOutputException, DynamicOutputShapeException)):
        return f"what it does depends on the numbers in them (`{error.func}`)"
    return first_line(error)
