"""Which way of sharing a run it takes, and what each way refuses, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator

from accelerate import Accelerator
from torch.distributed import is_initialized

from freezeplan.apply.sharing import KEY, against_sharing_out, way_of_sharing
from freezeplan.diagnostics import Diagnostic
from freezeplan.inventory.records import Inventory
from freezeplan.plan.records import Plan
from freezeplan.spec.tables import Spec
from freezeplan.train.launching import ranks_of
from freezeplan.train.strategies.replicate import Replicate
from freezeplan.train.strategies.shard import Shard
from freezeplan.train.strategies.single import Single
from freezeplan.train.strategies.strategy import SharingStrategy


def strategy_for(spec: Spec, accelerator: Accelerator) -> SharingStrategy:
    """Return the way that a spec asks for, or that fits the number of processes.

    Raises ``DiagnosticError`` (FP561) for several processes where one is allowed.
    """
    way = way_of_sharing(spec, ranks_of(accelerator).count)
    if way == "shard" or (spec.train.strategy == "shard" and is_initialized()):
        return Shard(accelerator)
    return Single(accelerator) if way == "single" else Replicate(accelerator)


def check_strategy(
    spec: Spec, plan: Plan, strategy: SharingStrategy, inventory: Inventory
) -> tuple[Diagnostic, ...]:
    """Report what stands against sharing out a run's tensors (FP561), and a `shard` that shares nothing (FP562)."""
    if strategy.name != "shard":
        return tuple(_alone(spec))
    return tuple(against_sharing_out(spec, plan, inventory))


def _alone(spec: Spec) -> Iterator[Diagnostic]:
    if spec.train.strategy == "shard":
        message = '`strategy = "shard"` shares a model among processes, and there is one'
        advice = "start several: `torchrun --nproc_per_node 2 -m freezeplan train …`"
        yield spec.locations.report(KEY, "FP562", message, help=advice)
