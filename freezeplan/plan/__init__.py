"""The resolver: (Spec, Inventory) -> Plan, without tensors."""

from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Assignment, FrozenSet, Group, Phase, Plan, PlannedParam

__all__ = ["Assignment", "FrozenSet", "Group", "Phase", "Plan", "PlannedParam", "compile_plan"]
