"""Entering a phase of a plan: model, optimizer groups and optimizer state, between two optimizer steps."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from math import isclose
from typing import TYPE_CHECKING, Any, Literal

from freezeplan.apply.carrying import (
    CEILING,
    CLOSE,
    PHASE_RATE,
    Rates,
    alive_schedulers,
    carry_over,
    holds_other_rates,
)
from freezeplan.apply.freezing import apply_freeze
from freezeplan.apply.groups import SCALED_BY, first_rate, scale_of
from freezeplan.apply.matching import named_tensors
from freezeplan.apply.optimizer_state import (
    as_one,
    complete_state,
    drop_state,
    hold_counters,
    restart_counters,
)
from freezeplan.apply.overruling import say_overruled
from freezeplan.apply.sharding import reshard_parameters
from freezeplan.apply.verifying import optimizer_problems
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.plan.records import Group, Plan

if TYPE_CHECKING:
    import torch

LOG = logging.getLogger("freezeplan")
Asked = float | Literal["keep"] | None
Owned = list[tuple[dict[str, Any], Group]]


def enter_phase(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    plan: Plan,
    phase: int | str,
    *,
    factor: Asked = None,
) -> None:
    """Put a model and the optimizer (or several) over a plan's groups into one phase of the plan.

    ``phase`` is its place (from 0) or its name, ``factor`` the schedule's at the phase's first step (see
    :func:`freezeplan.apply.schedule_factor`); by default 1.0. Where one torch scheduler runs over several phases,
    ``"keep"`` keeps the factor at which it stands: a group's rate over that of the phase before. The scheduler then
    goes on from the phase's rates, whatever it has kept of others (see
    :func:`freezeplan.apply.carrying.carry_over`). A warning is logged where it cannot keep the ratios, and where such
    a factor is given up without a word. Call it between two optimizer steps, never inside an
    accumulation: all gradients are dropped. What it does:

    - the model gets the phase's ``requires_grad`` and modes, as :func:`freezeplan.apply.apply_freeze` sets them;
    - each optimizer group gets the phase's rate times ``factor`` (0.0 while its tensors are frozen), weight decay
      and options; no group is added, none removed;
    - the optimizer forgets what the plan gives up (``Phase.drops_state``), so a tensor that thaws with
      ``on_thaw = "reset"`` starts as if the optimizer had never seen it.

    Entering a phase twice does no more than entering it once, so a resumed run calls it too. Raises, before
    anything is changed, :class:`freezeplan.DiagnosticError` when the model is not the plan's (FP414), when the
    optimizer lacks tensors or holds others (FP432) or mixes the plan's groups (FP440), or when a wrapper cannot
    follow (FP430, FP431); ``KeyError`` for a phase that the plan does not have.

    >>> import torch, freezeplan
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    >>> plan = freezeplan.compile_plan(model, {
    ...     "optimizer": {"lr": 0.01, "no_decay": []},
    ...     "rule": [{"name": "body", "match": "0", "state": "frozen"},
    ...              {"name": "head", "match": "1", "state": "trainable"}],
    ...     "phase": [{"name": "head only", "epochs": 1},
    ...               {"name": "all", "epochs": 1, "rule": [
    ...                   {"name": "thaw", "match": "0", "state": "trainable", "lr_mult": 0.5}]}]})
    >>> optimizer = torch.optim.AdamW(freezeplan.build_param_groups(model, plan))
    >>> enter_phase(model, optimizer, plan, "head only")
    >>> {group["name"]: group["lr"] for group in optimizer.param_groups}
    {'thaw': 0.0, 'head': 0.01}
    >>> enter_phase(model, optimizer, plan, "all", factor=0.1)
    >>> {group["name"]: group["lr"] for group in optimizer.param_groups}
    {'thaw': 0.0005, 'head': 0.001}
    """
    index = plan.phase_index(phase)
    optimizer = as_one(optimizer)
    reshard_parameters(model)
    tensors = named_tensors(model, plan)
    groups = _owned_groups(model, optimizer, plan, tensors)
    after = _rates(groups, index)
    before = Rates({id(group): _rate_now(group, planned) for group, planned in groups})
    scale = _entry_factor(optimizer, groups, factor, after)
    say_overruled(optimizer, plan)
    apply_freeze(model, plan, index)
    for tensor in tensors.values():
        tensor.grad = None
    goes_on = factor == "keep" and not any(SCALED_BY in group for group, _ in groups)
    if goes_on:
        carry_over(optimizer, before, after)
    _set_groups(groups, plan, index, scale, goes_on=goes_on)
    drop_state(optimizer, (tensors[name] for name in _forgotten(plan, index)))
    for group, planned in groups:
        if planned.lr[index] is not None:
            restart_counters(group, optimizer)
            complete_state(group, optimizer)
        else:
            hold_counters(group)


def phase_rates(plan: Plan, phase: int | str, factor: float = 1.0) -> dict[str, float]:
    """Return each group's rate in a phase, times the schedule's factor; 0.0 while it is frozen."""
    index = plan.phase_index(phase)
    return {group.name: _rate(group, index, factor) for group in plan.groups}


def set_rates(
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    plan: Plan,
    phase: int | str,
    factor: float,
) -> None:
    """Set every group's rate to the phase's times ``factor``: what a step of a schedule does.

    The groups must be those that :func:`enter_phase` accepted; this looks at their names only, and at their places
    where they have none.
    """
    rates = phase_rates(plan, phase, factor)
    groups = as_one(optimizer).param_groups
    unnamed = not any("name" in group for group in groups) and len(groups) == len(rates)
    for group, by_place in zip(
        groups, list(rates.values()) if unnamed else [None] * len(groups), strict=True
    ):
        _set_rate(group, by_place if by_place is not None else rates[_planned_name(group["name"], rates)])


def _rate(group: Group, index: int, factor: float) -> float:
    rate = group.lr[index]
    return 0.0 if rate is None else rate * factor


def _planned_name(name: str, planned: Container[str]) -> str:
    """Return the plan's name of a group; one that was split by device mesh has a part added to it."""
    return name if name in planned else name.rpartition("/")[0]


def _owned_groups(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    tensors: dict[str, torch.nn.Parameter],
) -> Owned:
    """Pair each of the optimizer's groups with the plan's group that its tensors belong to, by identity."""
    problems = optimizer_problems(model, optimizer, plan, tensors)
    if problems:
        raise DiagnosticError(problems)
    owners = {id(tensors[name]): group for group in plan.groups for name in group.members}
    found: Owned = []
    for place, group in enumerate(optimizer.param_groups):
        held = [owners.get(id(tensor)) for tensor in group["params"]]
        planned = {owner.name: owner for owner in held if owner is not None}
        named = "name" not in group or _planned_name(group["name"], planned) in planned
        if None in held or not named or len(planned) > 1:
            problems.append(_foreign(group.get("name", str(place)), list(planned), None in held))
        found.append((group, next(iter(planned.values()), plan.groups[0])))
    if problems:
        raise DiagnosticError(problems)
    return found


def _foreign(label: str, planned: list[str], more: bool) -> Diagnostic:
    names = [f"the plan's group `{name}`" for name in planned] + ["none of the plan's groups"] * more
    return diagnostic(
        "FP440",
        f"group `{label}` of the optimizer holds tensors of {' and '.join(names)}",
        help="build the optimizer from `build_param_groups(model, plan)`, and change nothing in its groups",
    )


def _entry_factor(optimizer: torch.optim.Optimizer, groups: Owned, asked: Asked, after: Rates) -> float:
    """Return the factor to enter with: the one that was asked for, or where a scheduler of one's own stands."""
    if isinstance(asked, (int, float)):
        return asked
    factors = [float(group["lr"]) / full for group, planned in groups if (full := _rate_now(group, planned))]
    standing = factors[0] if factors else 1.0
    if asked == "keep":
        if any(not isclose(factor, standing, rel_tol=CLOSE, abs_tol=1e-12) for factor in factors):
            LOG.warning(
                "the groups stand at %g to %g of the plan's rates, by a scheduler, and go on at %g",
                min(factors),
                max(factors),
                standing,
            )
        return standing
    if standing != 1.0 and _is_scheduled(optimizer):
        LOG.warning(
            "the rates stood at %g of those they began with, by a scheduler, and now begin at all of the phase's; "
            'say factor="keep" where it goes on, factor=1.0 where another begins',
            standing,
        )
    elif "initial_lr" in optimizer.param_groups[0] and holds_other_rates(optimizer, after):
        LOG.warning(
            "a scheduler goes on from the rates of the phase before; "
            'say factor="keep" where it is to go on with this one, factor=1.0 where another begins'
        )
    return 1.0


def _is_scheduled(optimizer: torch.optim.Optimizer) -> bool:
    return "initial_lr" in optimizer.param_groups[0] or bool(alive_schedulers(optimizer))


def _rates(groups: Owned, index: int) -> Rates:
    return Rates({id(group): _rate(planned, index, 1.0) for group, planned in groups})


def _rate_now(group: dict[str, Any], planned: Group) -> float:
    """Return a group's rate in the phase that it is in, 0.0 while it is frozen; before any, what it was built with."""
    return float(group.get(PHASE_RATE, first_rate(planned)))


def _set_groups(groups: Owned, plan: Plan, index: int, factor: float, *, goes_on: bool) -> None:
    for group, planned in groups:
        _set_options(group, planned, plan, index)
        _set_rate(group, _rate(planned, index, factor))
        group[PHASE_RATE] = full = _rate(planned, index, 1.0)
        if SCALED_BY in group:
            # Such a scheduler multiplies by it, and starts from the base rate, which stays.
            group[group[SCALED_BY]] = scale_of(full, plan.optimizer_of(planned).lr)
        elif "initial_lr" in group and not (goes_on and CEILING in group):
            # A torch scheduler that is built from here on starts from this, not from the group's rate.
            group["initial_lr"] = full


def _set_options(group: dict[str, Any], planned: Group, plan: Plan, index: int) -> None:
    group.update(planned.written_options(index))
    if plan.optimizer_of(planned).decays:
        group["weight_decay"] = planned.weight_decay[index]


def set_options(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, plan: Plan, phase: int | str
) -> None:
    """Set weight decay and options of every group to the phase's, and no rate: a loaded state has brought its own."""
    for group, planned in _owned_groups(model, optimizer, plan, named_tensors(model, plan)):
        _set_options(group, planned, plan, plan.phase_index(phase))


def _set_rate(group: dict[str, Any], rate: float) -> None:
    # A tensor stands for a rate where the optimizer's step is captured as a graph.
    if hasattr(group["lr"], "fill_"):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _forgotten(plan: Plan, index: int) -> list[str]:
    """Name the tensors whose state goes: those the plan says, and those that no phase has trained so far."""
    seen = {name for phase in range(index + 1) for name in plan.names(phase, trainable=True)}
    unseen = [name for name in plan.ever_trained if name not in seen]
    return [*plan.phases[index].drops_state, *unseen]
