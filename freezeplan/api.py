"""The public library calls, composed from the rooms below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezeplan.inventory.records import Inventory
from freezeplan.plan.records import Plan
from freezeplan.spec.tables import Spec

if TYPE_CHECKING:
    import torch

SpecLike = str | Path | Mapping[str, Any] | Spec


def load_spec(source: SpecLike) -> Spec:
    """Read and check a spec.

    ``source`` is the path of a TOML file, a dict of the same form, or a spec (returned as it is).
    Raises :class:`freezeplan.DiagnosticError` with all problems, in file order.

    >>> load_spec({"rule": [{"match": "**", "state": "frozen"}]}).rule[0].state
    'frozen'
    """
    from freezeplan.spec.reading import load_spec as read

    return read(source)


def compile_plan(model_or_inventory: torch.nn.Module | Inventory, spec: SpecLike) -> Plan:
    """Compile a spec for a live model, or for an inventory.

    Nothing is changed in the model. Returns the plan, warnings included (``plan.diagnostics``); raises
    :class:`freezeplan.DiagnosticError` with everything that is wrong.

    >>> import torch
    >>> plan = compile_plan(torch.nn.Linear(3, 1), {"rule": [{"match": "weight", "state": "trainable"},
    ...                                                      {"match": "bias", "state": "frozen"}]})
    >>> plan.names(trainable=True), plan.names(trainable=False)
    (('weight',), ('bias',))
    """
    from freezeplan.plan.compiling import compile_plan as compile_inventory

    return compile_inventory(_inventory(model_or_inventory), load_spec(spec))


def _inventory(source: torch.nn.Module | Inventory) -> Inventory:
    if isinstance(source, Inventory):
        return source
    from freezeplan.inventory.from_module import inventory_of

    return inventory_of(source)


def apply_freeze(model: torch.nn.Module, plan: Plan, phase: int | str = 0) -> None:
    """Set a live model's gradients and modes to what one phase of the plan (its place or name) says.

    See :func:`freezeplan.apply.apply_freeze`, which this calls.
    """
    from freezeplan.apply.freezing import apply_freeze as apply_phase

    apply_phase(model, plan, phase)


def enter_phase(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    phase: int | str,
    *,
    factor: float = 1.0,
) -> None:
    """Put a model and its optimizer into one phase of the plan (its place or name), between two steps.

    See :func:`freezeplan.apply.enter_phase`, which this calls.
    """
    from freezeplan.apply.phases import enter_phase as enter

    enter(model, optimizer, plan, phase, factor=factor)


def verify(
    model: torch.nn.Module,
    plan: Plan,
    optimizer: torch.optim.Optimizer | None = None,
    phase: int | str = 0,
) -> None:
    """Raise unless a model, and the optimizer over it, are as one phase of the plan says.

    See :func:`freezeplan.apply.verify`, which this calls.
    """
    from freezeplan.apply.verifying import verify as verify_phase

    verify_phase(model, plan, optimizer, phase)


def build_param_groups(
    model: torch.nn.Module, spec: SpecLike | Plan, *, freeze: bool = True
) -> list[dict[str, Any]]:
    """Build named parameter groups for any torch.optim optimizer, and freeze the rest of the model.

    ``spec`` is a path, a dict, a :class:`Spec` or an already compiled plan; ``[model]``, ``[[task]]`` and
    ``[train]`` may be absent. The groups are the spec's partition of all trainable tensors, in
    registration order; each holds ``params`` as ``(name, tensor)`` pairs, ``name``, ``lr``,
    ``weight_decay`` and the optimizer's options. ``freeze=False`` leaves the model alone. What was
    frozen, and all advice, is logged under ``freezeplan``; raises :class:`freezeplan.DiagnosticError`.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    >>> groups = build_param_groups(model, {"optimizer": {"lr": 0.001, "no_decay": []}, "rule": [
    ...     {"name": "body", "match": "**", "state": "frozen"},
    ...     {"name": "head", "match": "1", "state": "trainable", "lr_mult": 10.0}]})
    >>> [(group["name"], group["lr"], [name for name, _ in group["params"]]) for group in groups]
    [('head', 0.01, ['1.weight', '1.bias'])]
    >>> optimizer = torch.optim.AdamW(groups)
    """
    from freezeplan.apply.announcing import announce
    from freezeplan.apply.groups import parameter_groups

    plan = spec if isinstance(spec, Plan) else compile_plan(model, spec)
    groups = parameter_groups(model, plan)
    if freeze:
        apply_freeze(model, plan)
    announce(plan, applied=freeze)
    return groups
