"""Everything the compiler found on the way to a plan; ``why`` reads it too."""

from __future__ import annotations

from dataclasses import dataclass, field

from freezeplan.diagnostics import Diagnostic
from freezeplan.inventory.records import Inventory
from freezeplan.plan.binding import BoundRule
from freezeplan.plan.cascade import Cascade
from freezeplan.plan.layout import Stage
from freezeplan.plan.owners import Owner
from freezeplan.plan.records import Assignment, PlannedOptimizer
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.tables import Spec


@dataclass
class Resolution:
    """Bound rules, one cascade per phase, and the problems.

    ``owners`` are the optimizers, none where one is unknown. ``assignments`` holds, once nothing failed, a list in
    tree order for each phase.
    """

    spec: Spec
    inventory: Inventory
    tree: NameTree
    owners: tuple[Owner, ...]
    stages: tuple[Stage, ...]
    rules: list[BoundRule]
    decided: list[Cascade]
    masked: int
    problems: list[Diagnostic]
    assignments: list[list[Assignment]] = field(default_factory=list)

    def by_name(self, phase: int = 0) -> dict[str, Assignment]:
        """Return the assignment of every name in a phase, aliases included."""
        params = self.inventory.params
        pairs = zip(self.tree.order, self.assignments[phase], strict=True)
        return {params[index].name: what for index, what in pairs}

    def owner(self, what: Assignment) -> PlannedOptimizer:
        """Return the optimizer that an assignment is for."""
        return next(own.planned for own in self.owners if own.planned.label == what.optimizer)

    def rule_path(self, name: str) -> KeyPath:
        """Return the key path of the rule of that name."""
        return next((rule.path for rule in self.rules if rule.name == name), ("rule",))
