"""The rows whose frozen prefix is stored: counted in one way for what is shown and for what is run."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from freezeplan.data.row_counts import EVALUATED, TRAINED, rows_of, set_of
from freezeplan.plan.learning import tasks_that_ever_learn
from freezeplan.plan.records import Plan
from freezeplan.plan.storing import StoreRows
from freezeplan.spec.tables import Spec
from freezeplan.tasks import task_kind

Sizes = Mapping[str, Mapping[str, int]]


def store_rows(spec: Spec, plan: Plan, sizes: Sizes) -> StoreRows:
    """Count what a store is judged by, from the rows of each task's splits.

    ``sizes`` maps ``train`` and ``validation`` to the rows of each task that has such a split.
    """
    texts = {task.name: task_kind(task).texts for task in spec.task}
    evaluated = sum(count * texts[task] for task, count in sizes[EVALUATED].items())
    different = sum(count * texts[task] for task, count in stored_rows(spec, plan, sizes).items())
    return StoreRows(dict(sizes[TRAINED]), evaluated, different, texts)


def stored_rows(spec: Spec, plan: Plan, sizes: Sizes) -> dict[str, int]:
    """Return how many rows of each task a store holds.

    Tasks that read the same column of the same files share their rows, which count for the first; rows that are alike
    within them, or by chance in other files, are not looked for.
    """
    names = [task.name for task in spec.task]
    sets = {(TRAINED, task): sizes[TRAINED][task] for task in tasks_that_ever_learn(spec, plan)}
    sets |= {(EVALUATED, task): count for task, count in sizes[EVALUATED].items()}
    found, seen = dict[str, int](), set[Hashable]()
    for (split, task), count in sets.items():
        same = set_of(spec, names.index(task), split)
        if same not in seen:
            seen.add(same)
            found[task] = found.get(task, 0) + count
    return found


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
