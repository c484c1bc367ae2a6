"""Which optimizers can step all tensors of a group in one kernel, and when they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freezeplan.apply.matching import named_tensors
from freezeplan.plan.records import Group, Plan

if TYPE_CHECKING:
    import torch

# By type of device; Adagrad's kernel is there for CPUs alone.
FUSED = {
    "cpu": frozenset(["Adam", "AdamW", "SGD", "Adagrad"]),
    "cuda": frozenset(["Adam", "AdamW", "SGD"]),
}
# Those that torch can run over parts of tensors that are shared out among processes.
OF_PARTS = frozenset(["Adam", "AdamW"])


def fused_option(model: torch.nn.Module, plan: Plan) -> dict[str, Any]:
    """Return ``fused=True`` for :func:`freezeplan.apply.build_optimizer` where torch has such a step, else nothing.

    It has one for Adam, AdamW and SGD on CPUs and CUDA devices, and for Adagrad on CPUs, over floating-point
    tensors that lie on one device. A fused step does the same arithmetic in another order of rounding. SGD with
    momentum is left alone: its fused step cannot take a tensor that thaws, or is first used, after the others.
    """
    from freezeplan.apply.tensors import is_shared_out

    tensors = named_tensors(model, plan)
    trained = [tensors[name] for name in plan.ever_trained]
    devices = {tensor.device for tensor in trained}
    if len(devices) != 1 or not all(tensor.is_floating_point() for tensor in trained):
        return {}
    if len(plan.working) != 1:
        return {}
    name = plan.working[0].name
    if name == "SGD" and any(_has_momentum(group) for group in plan.groups):
        return {}
    if any(map(is_shared_out, trained)) and name not in OF_PARTS:
        return {}
    return {"fused": True} if name in FUSED.get(devices.pop().type, ()) else {}


def _has_momentum(group: Group) -> bool:
    return any(dict(options).get("momentum") for options in group.options)
