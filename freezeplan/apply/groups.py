"""From a plan's groups to what torch.optim takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freezeplan.apply.matching import named_tensors
from freezeplan.apply.optimizer_state import complete_state
from freezeplan.apply.sharding import reshard_parameters, split_by_mesh
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.plan.optimizers import optimizer_table
from freezeplan.plan.records import Group, Plan

if TYPE_CHECKING:
    import torch


def parameter_groups(model: torch.nn.Module, plan: Plan) -> list[dict[str, Any]]:
    """Return the plan's groups for a torch.optim optimizer, in the plan's order.

    Each holds ``params`` (a list of ``(name, tensor)`` pairs in registration order), ``name``, ``lr``,
    ``weight_decay`` where the optimizer has one, and the options that the spec sets: these overrule what the
    optimizer's constructor is given, and all others are the constructor's. The list is the static partition of
    every tensor that any phase trains. Under ``fully_shard`` they hold the sharded tensors, and a group over
    several meshes is split by mesh (see :func:`freezeplan.apply.sharding.split_by_mesh`). Raises
    :class:`freezeplan.DiagnosticError` when the plan was not compiled for this model.
    """
    reshard_parameters(model)
    tensors = named_tensors(model, plan)
    return split_by_mesh([_group(group, plan, tensors) for group in plan.groups])


def _group(group: Group, plan: Plan, tensors: dict[str, torch.nn.Parameter]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "params": [(name, tensors[name]) for name in group.members],
        "name": group.name,
        "lr": first_rate(group),
    }
    if optimizer_table()[plan.optimizer.lower()].has_weight_decay:
        found["weight_decay"] = group.weight_decay[0]
    return found | group.written_options(0)


def first_rate(group: Group) -> float:
    """Return the rate of the first phase that trains the group."""
    return next(rate for rate in group.lr if rate is not None)


def build_optimizer(model: torch.nn.Module, plan: Plan, **options: Any) -> torch.optim.Optimizer:
    """Build the plan's optimizer over its groups.

    ``options`` are passed on to the optimizer's class (``fused=True``, for instance). Raises
    :class:`freezeplan.DiagnosticError` when no phase trains anything.
    """
    import torch

    if not plan.groups:
        advice = "evaluate without an optimizer, or make something trainable"
        raise DiagnosticError(
            [diagnostic("FP413", "an optimizer needs a trainable parameter; this plan has none", help=advice)]
        )
    made: torch.optim.Optimizer = getattr(torch.optim, plan.optimizer)(
        parameter_groups(model, plan), lr=plan.base_lr, **options
    )
    for group in made.param_groups:
        complete_state(group, made)
    return made
