"""The gradients of several tasks in what they share become one: weights by torchjd, the sum by us."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

import torch

from freezeplan.diagnostics.wording import first_line
from freezeplan.spec.tables import Spec

Gradients = Sequence[torch.Tensor | None]
Weighing = Callable[[torch.Tensor], torch.Tensor]

AS_A_SUM = True
BY_ITSELF = False
WEIGHINGS: Mapping[str, tuple[str, bool]] = {
    "aligned_mtl": ("AlignedMTLWeighting", AS_A_SUM),
    "dualproj": ("DualProjWeighting", AS_A_SUM),
    "imtl_g": ("IMTLGWeighting", BY_ITSELF),
    "mgda": ("MGDAWeighting", BY_ITSELF),
    "pcgrad": ("PCGradWeighting", BY_ITSELF),
    "upgrad": ("UPGradWeighting", AS_A_SUM),
}
"""The class of torchjd for each balancing, and whether it is to balance around the plain sum of the gradients."""


def weighing(name: str, tasks: int) -> Weighing:
    """Return what maps the inner products of the gradients of so many tasks, ``(tasks, tasks)``, to their weights.

    The inner products are all that these methods look at (Quinton and Rey, Jacobian Descent for Multi-Objective
    Optimization, 2024, https://arxiv.org/abs/2406.16232). Raises ``ImportError`` where torchjd, or what it needs for
    the method, is not installed.
    """
    kind, as_a_sum = WEIGHINGS[name]
    made = getattr(import_module("torchjd.aggregation"), kind)
    return made(torch.ones(tasks, dtype=torch.float64)) if as_a_sum else made()


def check_balancing(spec: Spec) -> None:
    """Refuse a balancing whose library is not there: raises ``DiagnosticError`` (FP436)."""
    name = spec.train.balancing
    if name is None:
        return
    try:
        weighing(name, 2)(torch.eye(2, dtype=torch.float64))
    except (ImportError, AttributeError) as error:
        message = f'`balancing = "{name}"` needs the package torchjd, which is not installed, or another version of it'
        advice = 'pip install "freezeplan[balancing]"; or remove `balancing`'
        notes = [first_line(error)]
        raise spec.locations.error(
            ("train", "balancing"), "FP436", message, help=advice, notes=notes
        ) from None


def inner_products(rows: Sequence[Gradients]) -> torch.Tensor:
    """Return the inner products of the gradients of some tasks, ``(tasks, tasks)`` in float64 on the CPU.

    Each task has a gradient per tensor, the same tensors in the same order; None stands for zeros.
    """
    found = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for column in zip(*rows, strict=True):
        there = [index for index, gradient in enumerate(column) if gradient is not None]
        if there:
            flat = torch.stack([column[index].detach().reshape(-1).float() for index in there])
            found[torch.tensor(there)[:, None], torch.tensor(there)] += (flat @ flat.T).double().cpu()
    return found


def weights_of(name: str, rows: Sequence[Gradients]) -> list[float]:
    """Return the weight of each task's gradients; 1 for all where some number of them is not finite.

    A task without any gradient in this step takes no part, and is given 1.
    """
    products = inner_products(rows)
    taking = [index for index, row in enumerate(rows) if any(gradient is not None for gradient in row)]
    weights = [1.0] * len(rows)
    # What is not finite stays so in the sum: the loop then reports the loss, which says more than a solver would.
    if len(taking) > 1 and bool(products.isfinite().all()):
        at = torch.tensor(taking)
        found = weighing(name, len(taking))(products[at[:, None], at]).tolist()
        for index, weight in zip(taking, found, strict=True):
            weights[index] = weight
    return weights


def combined(rows: Sequence[Gradients], weights: Sequence[float]) -> list[torch.Tensor | None]:
    """Return the weighted sum of the tasks' gradients of each tensor, None where no task has one."""
    sums: list[torch.Tensor | None] = []
    for column in zip(*rows, strict=True):
        parts = [
            gradient * weight
            for gradient, weight in zip(column, weights, strict=True)
            if gradient is not None
        ]
        sums.append(sum(parts[1:], parts[0]) if parts else None)
    return sums
