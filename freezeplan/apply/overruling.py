"""Saying what was given to an optimizer's constructor and every group overrules."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from freezeplan.apply.optimizer_state import parts_of
from freezeplan.diagnostics.wording import counted
from freezeplan.plan.binding import OPTION_NAMES
from freezeplan.plan.records import Plan

if TYPE_CHECKING:
    import torch

LOG = logging.getLogger("freezeplan")
_said: WeakSet[Any] = WeakSet()


def say_overruled(optimizer: torch.optim.Optimizer, plan: Plan) -> None:
    """Log a warning, once for an optimizer, of each argument of its constructor that has no effect."""
    for part in parts_of(optimizer):
        if part not in _said:
            _said.add(part)
            for key, given in overruled(part, plan):
                groups = counted(len(part.param_groups), "group")
                LOG.warning(
                    "%s was given %s = %s, which has no effect: each of its %s has its own from the plan",
                    type(part).__name__,
                    key,
                    given,
                    groups,
                )


def overruled(optimizer: torch.optim.Optimizer, plan: Plan) -> Iterator[tuple[str, Any]]:
    """Yield what an optimizer's constructor was given, other than its default and the plan's, and no group has."""
    of_plan = {value for item in plan.optimizers for value in (item.lr, item.weight_decay)}
    parameters = inspect.signature(type(optimizer)).parameters
    for key in ("lr", "weight_decay", *OPTION_NAMES):
        given = optimizer.defaults.get(key)
        if given is None or key not in parameters or _is_same(given, parameters[key].default):
            continue
        if (
            not any(_is_same(group.get(key), given) for group in optimizer.param_groups)
            and given not in of_plan
        ):
            yield key, given


def _is_same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
