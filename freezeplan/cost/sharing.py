"""What one of several processes holds and runs, found out in one process that only pretends to have company."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch.distributed as processes
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor._sharding_prop import ShardingPropagator

from freezeplan.apply.sharing import against_sharing_out, way_of_sharing
from freezeplan.cost.tracking import ASIDE
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.inventory.records import Inventory
from freezeplan.plan.records import Plan
from freezeplan.spec.tables import Spec

# Registered by an import: a group whose exchanges return at once and change nothing.
PRETENDED = "fake"


@dataclass(frozen=True)
class Sharing:
    """Say how many processes share a run, and in which way: ``single``, ``replicate`` or ``shard``."""

    way: str = "single"
    processes: int = 1

    def rows(self, batch: int) -> int:
        """Return how many rows of a batch the process runs that has the most of them.

        >>> Sharing("shard", 2).rows(5)
        3
        """
        return -(-batch // self.processes)


ALONE = Sharing()


def sharing_of(spec: Spec, plan: Plan, inventory: Inventory, count: int) -> Sharing:
    """Return how so many processes share a run; raises ``DiagnosticError`` (FP561) where they cannot."""
    way = way_of_sharing(spec, count)
    against = list(against_sharing_out(spec, plan, inventory)) if way == "shard" else []
    if against:
        raise DiagnosticError(against)
    return Sharing(way, count)


@contextmanager
def pretended_mesh(count: int) -> Iterator[DeviceMesh]:
    """Make this process the first of ``count`` within the block, none of which answers or is waited for."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    if processes.is_initialized():
        message = "this process has company already, and cannot pretend to have another one"
        raise DiagnosticError([diagnostic("FP480", message, help="ask in a process of its own")])
    processes.init_process_group(PRETENDED, store=FakeStore(), rank=0, world_size=count)
    try:
        with _shapes_aside():
            yield init_device_mesh("cpu", (count,))
    finally:
        processes.destroy_process_group()


@contextmanager
def _shapes_aside() -> Iterator[None]:
    """Let nobody count the tensors by which torch finds out the shape of what it makes of shared tensors.

    Elsewhere they are fake ones that take nothing; here they would look like all the others.
    """
    found_out = ShardingPropagator._propagate_tensor_meta_non_cached

    def aside(propagator: Any, schema: Any) -> Any:
        before = ASIDE.set(True)
        try:
            return found_out(propagator, schema)
        finally:
            ASIDE.reset(before)

    ShardingPropagator._propagate_tensor_meta_non_cached = aside  # type: ignore[method-assign]
    try:
        yield
    finally:
        ShardingPropagator._propagate_tensor_meta_non_cached = found_out  # type: ignore[method-assign]
