"""Which tasks of the bundled trainer learn in a phase."""

from __future__ import annotations

from freezeplan.plan.modes import BACKBONE
from freezeplan.plan.records import Plan
from freezeplan.spec.tables import Spec


def learning_tasks(spec: Spec, plan: Plan, phase: int = 0) -> tuple[str, ...]:
    """Return the tasks whose batches reach a trainable tensor in a phase: in their own head or the backbone.

    The others (a frozen head on a frozen backbone) have nothing to learn and are only evaluated.
    """
    trained = plan.names(phase, trainable=True)
    if any(name.startswith(BACKBONE) for name in trained):
        return tuple(task.name for task in spec.task)
    with_own = {name.split(".")[1] for name in trained if name.startswith("heads.")}
    # The head of a language model is one, whatever the tasks that stand on it are called.
    language = [task.name for task in spec.task if task.own_head]
    with_own |= set(language) if with_own & set(language) else set()
    return tuple(task.name for task in spec.task if task.name in with_own)


def tasks_that_ever_learn(spec: Spec, plan: Plan) -> tuple[str, ...]:
    """Return the tasks that learn in some phase, in the order of the spec."""
    found = {name for phase in range(len(plan.phases)) for name in learning_tasks(spec, plan, phase)}
    return tuple(task.name for task in spec.task if task.name in found)
