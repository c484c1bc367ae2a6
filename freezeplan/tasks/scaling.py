"""What the loss of a task is multiplied by in training."""

from __future__ import annotations

from math import log
from typing import Protocol

LOG_CLASSES = "log_classes"


class HasScale(Protocol):
    """Something that says how a task's loss is scaled: a task of a spec."""

    @property
    def weight(self) -> float: ...

    @property
    def scale(self) -> str | None: ...


def loss_factor(task: HasScale, classes: int) -> float:
    """Return a task's weight, with ``scale = "log_classes"`` over the natural logarithm of its number of classes.

    That is the loss of a guess that gives each class the same probability, so that such a guess costs every task the
    same, however many classes it has (Aghajanyan et al., Muppet: Massive Multi-task Representations with
    Pre-Finetuning, 2021, https://arxiv.org/abs/2101.11038).
    """
    return task.weight / log(classes) if task.scale == LOG_CLASSES else task.weight
