"""Finding a plan's tensors in a live model, by canonical name, shape and identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_few
from freezeplan.inventory.identity import named_parameters
from freezeplan.plan.records import Plan

if TYPE_CHECKING:
    import torch

MOST_NAMED = 8


def named_tensors(model: torch.nn.Module, plan: Plan) -> dict[str, torch.nn.Parameter]:
    """Return the model's tensors by canonical name, in the plan's order.

    Raises :class:`freezeplan.DiagnosticError` that lists every tensor that is missing, new, of another
    shape or tied differently (FP414), and where names and tensors are not one to one (FP182).
    """
    live = named_parameters(model)
    problems = _differences(live, plan)
    if problems:
        raise DiagnosticError([_stranger(first_few(problems, MOST_NAMED))])
    return {param.name: live[param.name] for param in plan.params}


def _stranger(problems: list[str]) -> Diagnostic:
    message = "this model is not the one that the plan was compiled for"
    return diagnostic("FP414", message, help="compile the plan again for this model", notes=problems)


def _differences(live: dict[str, torch.nn.Parameter], plan: Plan) -> list[str]:
    known = {name for param in plan.params for name in (param.name, *param.aliases)}
    found = [f"`{name}` is not in the plan" for name in live if name not in known]
    found += _new_ties(live, plan)
    for param in plan.params:
        tensor = live.get(param.name)
        if tensor is None:
            found.append(f"`{param.name}` is not in the model")
        elif tuple(tensor.shape) != param.shape:
            found.append(f"`{param.name}` has shape {tuple(tensor.shape)}, the plan says {param.shape}")
        found += [
            f"`{alias}` is no longer tied to `{param.name}`"
            for alias in param.aliases
            if live.get(alias) is not tensor
        ]
    return found


def _new_ties(live: dict[str, torch.nn.Parameter], plan: Plan) -> list[str]:
    names = [param.name for param in plan.params if param.name in live]
    first: dict[int, str] = {}
    for name in names:
        first.setdefault(id(live[name]), name)
    pairs = [(name, first[id(live[name])]) for name in names]
    return [f"`{name}` is now tied to `{other}`" for name, other in pairs if name != other]
