"""The rows whose frozen prefix is stored: counted in one way for what is shown and for what is run."""

from __future__ import annotations

from collections.abc import Mapping

from freezeplan.data.row_counts import EVALUATED, TRAINED, rows_of, set_of
from freezeplan.plan.learning import tasks_that_ever_learn
from freezeplan.plan.records import Plan
from freezeplan.plan.storing import StoreRows
from freezeplan.spec.tables import Spec

Sizes = Mapping[str, Mapping[str, int]]


def store_rows(spec: Spec, plan: Plan, sizes: Sizes) -> StoreRows:
    """Count what a store is judged by, from the rows of each task's splits.

    ``sizes`` maps ``train`` and ``validation`` to the rows of each task that has such a split. Tasks that read the
    same column of the same files share their rows; rows that are alike within them, or by chance in other files,
    are not looked for.
    """
    learning = tasks_that_ever_learn(spec, plan)
    names = [task.name for task in spec.task]
    sets = {(TRAINED, task): sizes[TRAINED][task] for task in learning}
    sets |= {(EVALUATED, task): count for task, count in sizes[EVALUATED].items()}
    shared = {set_of(spec, names.index(task), split): count for (split, task), count in sets.items()}
    return StoreRows(dict(sizes[TRAINED]), sum(sizes[EVALUATED].values()), sum(shared.values()))


def counted_rows(spec: Spec, plan: Plan) -> StoreRows | None:
    """Count the same by reading the files of a spec; None where some cannot be counted here."""
    sizes: dict[str, dict[str, int]] = {}
    for split in (TRAINED, EVALUATED):
        wanted = [task.name for task in spec.task if task.data and getattr(task.data, split) is not None]
        found = rows_of(spec, split, at_hand=True)
        if not found.known(wanted):
            return None
        sizes[split] = dict(found.counts)
    return (
        store_rows(spec, plan, sizes)
        if sizes[TRAINED].keys() >= {*tasks_that_ever_learn(spec, plan)}
        else None
    )
