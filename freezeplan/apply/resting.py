"""Weights that no phase trains, kept in half the space, as the plan says; and woken up again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from freezeplan.apply.formats import COMPUTES_IN, computes_in
from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import counted, first_few
from freezeplan.plan.records import Plan
from freezeplan.spec.locations import at_key

if TYPE_CHECKING:
    import torch

MOST_NAMED = 8


def wake(model: torch.nn.Module) -> None:
    """Make ordinary parameters of those that rest, at their full width; their numbers stay rounded."""
    for tensor in model.parameters():
        wide = computes_in(tensor)
        if wide is not None:
            store_plainly(tensor)
            tensor.data = tensor.data.to(wide)


def store_plainly(tensor: torch.nn.Parameter) -> None:
    """Make an ordinary parameter of one that rests, in the format that it is stored in: nothing widens it then."""
    import torch

    from freezeplan.apply.widening import RestingParameter

    if computes_in(tensor) is not None:
        del tensor.__dict__[COMPUTES_IN]
        if isinstance(tensor, RestingParameter):
            tensor.__class__ = torch.nn.Parameter


def rest_frozen(model: torch.nn.Module, plan: Plan, tensors: Mapping[str, torch.nn.Parameter]) -> None:
    """Let what no phase of a plan trains rest as the plan says; ``tensors`` are the plan's, by name.

    A tensor that some phase trains stays as it is from the first step on. Raises
    :class:`freezeplan.DiagnosticError` (FP438), before anything is changed, for tensors that cannot be kept so.
    """
    if plan.frozen_dtype is None:
        return
    import torch

    from freezeplan.apply.widening import rest

    narrow = getattr(torch, plan.frozen_dtype)
    chosen = {name: tensors[name] for name in plan.at_rest}
    flaws = list(_flaws(model, chosen, narrow))
    if flaws:
        many = counted(len(flaws), "frozen tensor")
        message = f"{many} cannot be kept in {plan.frozen_dtype}"
        advice = (
            "remove `frozen_dtype`, or keep another format"
            if narrow is torch.float16
            else "remove `frozen_dtype`"
        )
        notes = first_few(flaws, MOST_NAMED)
        raise DiagnosticError([at_key(("model", "frozen_dtype"), "FP438", message, help=advice, notes=notes)])
    rest(chosen.values(), narrow)


def _flaws(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], narrow: torch.dtype) -> Iterator[str]:
    import torch

    compiled = {
        id(tensor)
        for module in model.modules()
        if isinstance(module, torch.jit.ScriptModule)
        for tensor in module.parameters()
    }
    for name, tensor in tensors.items():
        wide = tensor.dtype
        if computes_in(tensor) or not wide.is_floating_point or wide.itemsize <= narrow.itemsize:
            continue
        if type(tensor) is not torch.nn.Parameter or id(tensor) in compiled:
            where = "a compiled module" if id(tensor) in compiled else f"a {type(tensor).__name__}"
            yield f"`{name}` belongs to {where}, whose tensors are not exchanged"
        elif not tensor.is_meta and bool((tensor.isfinite() & ~tensor.to(narrow).isfinite()).any()):
            yield f"`{name}` holds numbers beyond {torch.finfo(narrow).max:g}"
