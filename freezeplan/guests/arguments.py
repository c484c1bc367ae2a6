"""What a Trainer's arguments say that a plan decides: they have no effect, and one warning says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any

from transformers import TrainingArguments

DECIDED = (
    "learning_rate",
    "weight_decay",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_ratio",
    "warmup_steps",
    "optim",
    "optim_args",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
)
"""Arguments for the optimizer and the schedule, which a guest brings with it."""


def without_effect(args: TrainingArguments) -> list[str]:
    """Name the arguments that say something else than their default and that a guest's plan decides."""
    return [item.name for item in fields(args) if item.name in DECIDED and _is_written(item, args)]


def _is_written(item: Field[Any], args: TrainingArguments) -> bool:
    value = getattr(args, item.name)
    return all(value != default and str(value) != str(default) for default in _defaults(item))


def _defaults(item: Field[Any]) -> Iterator[Any]:
    """Yield an argument's default, and what nothing is written as."""
    yield None
    if item.default is not MISSING:
        yield item.default
    if item.default_factory is not MISSING:
        yield item.default_factory()
