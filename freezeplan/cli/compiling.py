"""From a spec's path to its plan, for every command that needs one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freezeplan.inventory.records import Inventory
    from freezeplan.plan.records import Plan
    from freezeplan.spec.tables import Spec


@dataclass(frozen=True)
class Compiled:
    """A spec with the model it is about and the plan it compiles to."""

    spec: Spec
    inventory: Inventory
    plan: Plan


def compiled(path: Path) -> Compiled:
    """Read a spec, find its model and compile the plan.

    Raises ``DiagnosticError`` with everything that is wrong.
    """
    from freezeplan.inventory.sources import inventory_for
    from freezeplan.plan import compile_plan
    from freezeplan.spec.reading import load_spec

    spec = load_spec(path)
    inventory = inventory_for(spec)
    return Compiled(spec, inventory, compile_plan(inventory, spec))
