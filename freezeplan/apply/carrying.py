"""Schedulers of one's own that run over several phases: what they hold of each group's rate follows the plan's."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING, Any

from freezeplan.apply.living import living
from freezeplan.apply.optimizer_state import innermost, parts_of

if TYPE_CHECKING:
    import torch

LOG = logging.getLogger("freezeplan")
PHASE_RATE = "phase_lr"
"""The key of a group that holds its rate in the phase that was entered last, before any schedule's factor."""

LISTS = ("base_lrs", "max_lrs", "min_lrs", "_init_lrs", "base_values", "warmup_steps")
"""Where schedulers keep one rate for each group: torch's, transformers' GreedyLR, and the last two timm's."""
CEILING = "max_lr"
KEYS = (CEILING, "initial_lr", "min_lr")
"""Where OneCycleLR keeps them, in the group itself; the second is not the group's rate then."""
FLOORS = ("eta_min", "lr_min", "warmup_lr_init")
"""What is one rate for all groups, so that no ratio holds near it."""
CLOSE = 1e-6

Groups = list[dict[str, Any]]


@dataclass(frozen=True)
class Rates:
    """Hold the rate of each group in a phase, by the identity of the group."""

    by_group: dict[int, float]

    def of(self, groups: Groups) -> list[float]:
        """Return the rates of some groups in their order; of an unknown one, what it has."""
        return [self.by_group.get(id(group), float(group["lr"])) for group in groups]


def alive_schedulers(optimizer: torch.optim.Optimizer) -> list[Any]:
    """Return the schedulers of torch and timm over an optimizer that somebody still holds."""
    own = {id(part) for part in (innermost(optimizer), *parts_of(optimizer))}
    return [item for item in _schedulers() if id(innermost(item.optimizer)) in own]


def _schedulers() -> Iterator[Any]:
    from torch.optim.lr_scheduler import LRScheduler

    timm = sys.modules.get("timm.scheduler.scheduler")
    kinds = (LRScheduler, timm.Scheduler) if timm is not None else (LRScheduler,)
    return (item for item in living(*kinds) if hasattr(item, "optimizer"))


def carry_over(optimizer: torch.optim.Optimizer, before: Rates, after: Rates) -> None:
    """Let every scheduler over an optimizer go on from the rates of another phase.

    A scheduler that keeps the rates it first saw (LambdaLR, timm's) would leave a group that thaws at 0. Whatever it
    holds for each group in proportion to the rates of the phase before gets the same proportion of those of the
    phase after. What is not in proportion, such as a floor for all groups, is said in a warning: no ratio holds there.
    """
    groups = optimizer.param_groups
    keys = KEYS if all(CEILING in group for group in groups) else ()
    unfit = [f"`{key}` of its groups" for key in keys if not _carry_key(groups, key, before, after)]
    for scheduler in alive_schedulers(optimizer):
        own = innermost(scheduler.optimizer).param_groups
        unfit += [f"`{name}` of {type(scheduler).__name__}" for name in _unfit(scheduler, own, before, after)]
    if unfit and _differ(before, after):
        LOG.warning(
            "a scheduler holds rates that are not the plan's times one factor (%s): the ratios between the groups "
            "are not kept; one of the LambdaLR family keeps them",
            ", ".join(dict.fromkeys(unfit)),
        )


def holds_other_rates(optimizer: torch.optim.Optimizer, after: Rates) -> bool:
    """Whether a scheduler over an optimizer would go on from rates that are not those of a phase."""
    for scheduler in alive_schedulers(optimizer):
        wanted = after.of(innermost(scheduler.optimizer).param_groups)
        for name in ("base_lrs", "base_values"):
            held = getattr(scheduler, name, None)
            if held and not all(
                isclose(float(a), b, rel_tol=CLOSE) for a, b in zip(held, wanted, strict=False)
            ):
                return True
    return False


def _differ(before: Rates, after: Rates) -> bool:
    """Whether any two rates of two phases are not the same: with one rate alone there is no ratio to keep."""
    return len({rate for rates in (before, after) for rate in rates.by_group.values() if rate}) > 1


def _carry_key(groups: Groups, key: str, before: Rates, after: Rates) -> bool:
    """Carry what each group holds under a key; False where it is in no proportion to the rates."""
    found = in_proportion([float(group[key]) for group in groups], before.of(groups), after.of(groups))
    for group, value in zip(groups, found or (), strict=bool(found)):
        group[key] = value
    return found is not None


def _unfit(scheduler: Any, groups: Groups, before: Rates, after: Rates) -> Iterator[str]:
    """Carry the lists of a scheduler; yield the names of what cannot be carried."""
    for name in LISTS:
        held = scheduler.__dict__.get(name)
        if not isinstance(held, list) or len(held) != len(groups) or _is_idle(scheduler, name):
            continue
        found = in_proportion([float(value) for value in held], before.of(groups), after.of(groups))
        if found is None:
            yield name
        else:
            held[:] = found
    yield from (name for name in FLOORS if scheduler.__dict__.get(name))


def _is_idle(scheduler: Any, name: str) -> bool:
    """timm's have a list of ones where there is no warm-up."""
    return name == "warmup_steps" and not getattr(scheduler, "warmup_t", 0)


def in_proportion(
    values: Sequence[float], before: Sequence[float], after: Sequence[float]
) -> list[float] | None:
    """Return values that are to the rates after as these are to those before; None where they are in no proportion.

    A group without a rate before (it was frozen) says nothing.

    >>> in_proportion([0.2, 0.0, 0.4], [0.1, 0.0, 0.2], [0.1, 0.5, 0.0])
    [0.2, 1.0, 0.0]
    >>> in_proportion([0.3, 0.3], [0.1, 0.2], [0.1, 0.2]) is None
    True
    """
    shares = [value / rate for value, rate in zip(values, before, strict=True) if rate]
    if any(not isclose(share, shares[0], rel_tol=CLOSE) for share in shares):
        return None
    share = shares[0] if shares else 1.0
    return [share * rate for rate in after]
