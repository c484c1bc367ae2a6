"""Which key of a spec decided a tensor's state in its plan."""

from __future__ import annotations

from freezeplan.plan.binding import rule_paths
from freezeplan.plan.records import Plan
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.tables import Spec


def state_key(spec: Spec, plan: Plan, name: str, frozen: bool) -> KeyPath | None:
    """Return the key ``state`` of the rule that froze a tensor, or let it train, in the first phase that does.

    None for what the plan has no such tensor of, and for rules that no file holds (those that ``[gradual]`` makes).
    """
    place = next((place for place, param in enumerate(plan.params) if param.name == name), None)
    if place is None:
        return None
    whats = [phase.assignments[place] for phase in plan.phases]
    rule = next((dict(what.decided).get("state") for what in whats if what.trainable is not frozen), None)
    path = rule_paths(spec).get(rule or "")
    return None if path is None else (*path, "state")
