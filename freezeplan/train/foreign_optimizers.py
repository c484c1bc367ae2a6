"""Optimizers from elsewhere in the bundled trainer: tried on a few numbers before data and weights are loaded."""

from __future__ import annotations

import random
from typing import Any

import torch

from freezeplan.apply.elsewhere import constructed
from freezeplan.apply.optimizer_counts import is_number
from freezeplan.diagnostics.wording import first_line
from freezeplan.plan.records import Plan, PlannedOptimizer
from freezeplan.spec.locations import attaching, error_at_key
from freezeplan.spec.tables import Spec

SHAPES = ((8, 4), (4,))
SOURCES = (torch.Generator, random.Random)
ANOTHER = "use another optimizer, or a loop of your own (`freezeplan.build_optimizer`)"


@attaching
def check_foreign(spec: Spec, plan: Plan) -> None:
    """Refuse an optimizer from elsewhere that this trainer cannot step, stop and resume.

    It is built over two small tensors and takes a step. Raises ``DiagnosticError``: FP421 where the class cannot be
    had, FP422 where it does not take its arguments, FP402 where it keeps other weights for evaluation, asks for
    more than gradients, or keeps what a checkpoint cannot hold.
    """
    for planned in plan.working:
        if planned.is_foreign:
            tensors = [torch.nn.Parameter(torch.ones(shape)) for shape in SHAPES]
            made = constructed(planned, [{"params": [tensor], "lr": planned.lr} for tensor in tensors])
            _check_modes(planned, made)
            before = _own_numbers(made)
            _take_step(planned, made, tensors)
            _check_own(planned, before, _own_numbers(made))
            for state in made.state.values():
                _check_state(planned, state)


def _check_modes(planned: PlannedOptimizer, made: torch.optim.Optimizer) -> None:
    if callable(getattr(made, "train", None)) and callable(getattr(made, "eval", None)):
        message = f"{planned.kind} has other weights for evaluation (`eval()`): this trainer does not switch"
        raise error_at_key((*planned.path, "class"), "FP402", message, help=ANOTHER)


def _take_step(planned: PlannedOptimizer, made: Any, tensors: list[torch.nn.Parameter]) -> None:
    for tensor in tensors:
        tensor.grad = torch.full_like(tensor, 0.1)
    try:
        made.step()
    except Exception as error:
        message = f"{planned.kind} cannot take a step on gradients alone: {first_line(error)}"
        raise error_at_key((*planned.path, "class"), "FP402", message, help=ANOTHER) from error


def _own_numbers(made: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the numbers, and sources of random ones, that an optimizer keeps beside its groups and states."""
    # A flag says that something was set up, and is set up again.
    kept = {k: value for k, value in vars(made).items() if is_number(value) and not isinstance(value, bool)}
    return kept | {key: None for key, value in vars(made).items() if isinstance(value, SOURCES)}


def _check_own(planned: PlannedOptimizer, before: dict[str, Any], after: dict[str, Any]) -> None:
    for key, value in after.items():
        if value is None or key not in before or bool(value != before[key]):
            message = f"{planned.kind} keeps `{key}` for itself, beside its groups: no checkpoint holds it"
            raise error_at_key((*planned.path, "class"), "FP402", message, help=ANOTHER)


def _check_state(planned: PlannedOptimizer, state: dict[str, Any]) -> None:
    for key, value in state.items():
        if not (isinstance(value, torch.Tensor) or is_number(value) or value is None):
            message = f"{planned.kind} keeps a {type(value).__name__} (`{key}`) of each tensor: no checkpoint holds it"
            raise error_at_key((*planned.path, "class"), "FP402", message, help=ANOTHER)
