"""Everything the compiler found on the way to a plan; ``why`` reads it too."""

from __future__ import annotations

from dataclasses import dataclass, field

from freezeplan.diagnostics import Diagnostic
from freezeplan.inventory.records import Inventory
from freezeplan.plan.binding import BoundRule
from freezeplan.plan.cascade import Cascade
from freezeplan.plan.optimizers import OptimizerFacts
from freezeplan.plan.records import Assignment
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.tables import Spec


@dataclass
class Resolution:
    """Bound rules, the cascade, and the problems; ``assignments`` (tree order) once nothing failed."""

    spec: Spec
    inventory: Inventory
    tree: NameTree
    facts: OptimizerFacts | None
    rules: list[BoundRule]
    decided: Cascade
    masked: int
    problems: list[Diagnostic]
    assignments: list[Assignment] = field(default_factory=list)

    def by_name(self) -> dict[str, Assignment]:
        """Return the assignment of every name, aliases included."""
        params = self.inventory.params
        pairs = zip(self.tree.order, self.assignments, strict=True)
        return {params[index].name: what for index, what in pairs}

    def rule_path(self, name: str) -> KeyPath:
        """Return the key path of the rule of that name."""
        return next((rule.path for rule in self.rules if rule.name == name), ("rule",))
