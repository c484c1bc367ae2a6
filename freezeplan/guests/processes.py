"""A host that runs on several processes: what must be ready before it wraps the model, and what it cannot follow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import torch

from freezeplan.apply.freezing import before_wrapping
from freezeplan.apply.wrapping import distributed_wrappers
from freezeplan.diagnostics import Diagnostic, diagnostic
from freezeplan.diagnostics.wording import some
from freezeplan.plan.records import Plan

SHARDING = ("FSDP", "DEEPSPEED", "MEGATRON_LM")


def several_processes() -> bool:
    """Whether this is one of several processes: by the process group, or by what torchrun says before there is one."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size() > 1
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def await_wrapping(model: torch.nn.Module, plan: Plan) -> None:
    """Let what any phase trains need a gradient, where a host is still to wrap the model."""
    if several_processes():
        before_wrapping(model, plan)


def trains_one_set(plan: Plan) -> bool:
    """Whether all phases of a plan train the same tensors."""
    sets = {plan.names(phase, trainable=True) for phase in range(len(plan.phases))}
    return len(sets) == 1


def process_problems(
    model: torch.nn.Module, plan: Plan, *, kind: str, devices: int, loose: list[str], option: str
) -> Iterator[Diagnostic]:
    """Report (FP442) what a host on several processes or devices cannot do with a plan.

    ``kind`` is how its processes share the work, ``devices`` how many one of them spreads a batch over, ``loose``
    names tensors that train outside the model it wraps, and ``option`` is what makes its wrapper follow phases.
    """
    if devices > 1:
        why = "the host spreads the batch over them with DataParallel, which copies the model at each step"
        yield _unable(
            f"one process uses {devices} devices", "start one process per device with torchrun", [why]
        )
    if not several_processes():
        return
    if kind.upper() in SHARDING:
        why = "its optimizer must be built after the model is sharded, and a guest builds it before"
        yield _unable(f"the host shards the model ({kind})", "use DistributedDataParallel", [why])
    if loose:
        message = f"{len(loose)} tensors train outside the model that is wrapped: {some(loose, 3)}"
        why = "nothing averages their gradients, so they would drift apart on the processes"
        yield _unable(message, "put them into the model, or start one process", [why])
    yield from _deaf(model, plan, option)


def _deaf(model: torch.nn.Module, plan: Plan, option: str) -> Iterator[Diagnostic]:
    """Report wrappers that wait for a gradient of each tensor, where a phase leaves some out."""
    wrappers: list[Any] = [] if trains_one_set(plan) else distributed_wrappers(model)
    if any(not wrapper.find_unused_parameters or wrapper.static_graph for wrapper in wrappers):
        why = "DistributedDataParallel would wait for the gradients of what a phase holds frozen"
        yield _unable("the phases train different tensors, and the wrapper expects them all", option, [why])


def _unable(message: str, advice: str, notes: list[str]) -> Diagnostic:
    return diagnostic("FP442", message, help=advice, notes=notes)
