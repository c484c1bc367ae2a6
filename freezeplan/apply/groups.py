"""From a plan's groups to what torch.optim takes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from freezeplan.apply.elsewhere import build_foreign, optimizer_class
from freezeplan.apply.matching import named_tensors
from freezeplan.apply.optimizer_state import as_one, complete_state
from freezeplan.apply.probing import check_follows
from freezeplan.apply.sharding import reshard_parameters, split_by_mesh
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import quoted
from freezeplan.plan.rates import EXACT, exact
from freezeplan.plan.records import Group, Plan, PlannedOptimizer

if TYPE_CHECKING:
    import torch

OWNER = "optimizer"
"""The key of a group that says which optimizer of the plan it is for."""


SCALED_BY = "scale_key"
"""The key of a group that says under which other key its rate stands as a multiple of the base rate."""


def parameter_groups(
    model: torch.nn.Module, plan: Plan, *, named: bool = True, scale_key: str | None = None
) -> list[dict[str, Any]]:
    """Return the plan's groups for a torch.optim optimizer, in the plan's order.

    Each holds ``params`` (a list of ``(name, tensor)`` pairs in registration order), ``name``, ``lr``,
    ``weight_decay`` where the optimizer has one, and the options that the spec sets: these overrule what the
    optimizer's constructor is given, and all others are the constructor's. Where the plan has several optimizers,
    ``optimizer`` says whose group it is (empty for that of ``[optimizer]``). The list is the static partition of
    every tensor that any phase trains. ``named`` and ``scale_key`` are those of
    :func:`freezeplan.build_param_groups`. Under ``fully_shard`` they hold the sharded tensors, and a group over
    several meshes is split by mesh (see :func:`freezeplan.apply.sharding.split_by_mesh`). Raises
    :class:`freezeplan.DiagnosticError` when the plan was not compiled for this model.
    """
    reshard_parameters(model)
    tensors = named_tensors(model, plan)
    groups = split_by_mesh([_group(group, plan, tensors, scale_key) for group in plan.groups])
    return groups if named else [without_names(group) for group in groups]


def without_names(group: dict[str, Any]) -> dict[str, Any]:
    """Return a group of plain tensors."""
    kept = {key: value for key, value in group.items() if key != "name"}
    return {**kept, "params": [tensor for _, tensor in group["params"]]}


def _group(
    group: Group, plan: Plan, tensors: dict[str, torch.nn.Parameter], scale_key: str | None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "params": [(name, tensors[name]) for name in group.members],
        "name": group.name,
        "lr": first_rate(group),
    }
    if plan.optimizer_of(group).decays:
        found["weight_decay"] = group.weight_decay[0]
    if len(plan.working) > 1:
        found[OWNER] = group.optimizer
    if scale_key is not None:
        base = plan.optimizer_of(group).lr
        found |= {"initial_lr": base, SCALED_BY: scale_key, scale_key: scale_of(first_rate(group), base)}
    return found | group.written_options(0)


def scale_of(rate: float, base: float) -> float:
    """Return a rate as a multiple of a base rate, as it is written."""
    return float(EXACT.divide(exact(rate), exact(base)))


def first_rate(group: Group) -> float:
    """Return the rate of the first phase that trains the group."""
    return next(rate for rate in group.lr if rate is not None)


def build_optimizer(model: torch.nn.Module, plan: Plan, **options: Any) -> torch.optim.Optimizer:
    """Build the plan's optimizer over its groups; several become one :class:`OptimizerChain`.

    ``options`` are passed on to the optimizer's class (``fused=True``, for instance), where there is one. Raises
    :class:`freezeplan.DiagnosticError` when no phase trains anything (FP413), and for an optimizer from elsewhere
    that is not there (FP421) or does not take what the plan gives it (FP422).
    """
    if not plan.groups:
        advice = "evaluate without an optimizer, or make something trainable"
        raise DiagnosticError(
            [diagnostic("FP413", "an optimizer needs a trainable parameter; this plan has none", help=advice)]
        )
    if options and len(plan.working) > 1:
        advice = "write them in the `options` of the optimizers' tables"
        message = f"{quoted(options)} cannot be given to {len(plan.working)} optimizers"
        raise DiagnosticError([diagnostic("FP422", message, help=advice)])
    groups = parameter_groups(model, plan)
    made = [_built(item, plan, groups, options) for item in plan.working]
    for optimizer in made:
        for group in optimizer.param_groups:
            complete_state(group, optimizer)
    return as_one(made)


def _built(
    planned: PlannedOptimizer, plan: Plan, groups: list[dict[str, Any]], options: dict[str, Any]
) -> torch.optim.Optimizer:
    own = [group for group in groups if group.get(OWNER, planned.label) == planned.label]
    given = replace(planned, arguments=tuple((dict(planned.arguments) | options).items()))
    if planned.is_foreign:
        made = build_foreign(given, plan, own)
        check_follows(given, plan)
        return made
    kind: Any = optimizer_class(planned)
    made = kind(own, lr=planned.lr, **dict(given.arguments))
    return made
