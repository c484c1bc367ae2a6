"""From the columns of a table to the rows of a task's split, checked one by one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from freezeplan.data.builders import WANTED
from freezeplan.data.checks import Report, check_inputs, check_scale, check_targets
from freezeplan.data.modality import KINDS, TEXT, Kind
from freezeplan.data.pairs import TextPairs
from freezeplan.data.reader import RowTable, Wanted, columns_of, targets_of
from freezeplan.data.split import Split
from freezeplan.data.unlabelled import TEST
from freezeplan.diagnostics import Diagnostic
from freezeplan.spec.tables import DataTable, Spec, Task


def column_reports(spec: Spec, index: int) -> dict[str, Report]:
    """Return what points at the key of each column that a task reads."""
    data = spec.task[index].data or DataTable()
    keys = {column: key for key, column in data.inputs.items()}
    keys |= dict.fromkeys(targets_of(spec.task[index]), data.target_key)
    return {
        column: partial(spec.locations.report, ("task", index, "data", key)) for column, key in keys.items()
    }


def check_rows(
    table: RowTable, task: Task, targets: Sequence[Wanted], split: str, report: Report
) -> list[Diagnostic]:
    """Report the rows of a split whose inputs or targets cannot be used."""
    columns, source, places = columns_of(task), table.source, table.places
    found: list[Diagnostic] = []
    for wanted in columns.inputs:
        column = table.columns[wanted]
        found += check_inputs(column.flaws, KINDS[wanted.role], [wanted.name], source, places, report)
        found += [] if column.flaws else check_scale(column.bright, wanted.name, source, report)
    for wanted in targets:
        flaws = table.columns[wanted].flaws
        advice = WANTED[wanted.role] + ("; or leave the column out of all test rows" if split == TEST else "")
        found += check_targets(flaws, wanted.name, advice, source, places, report)
    return found


def split_of(table: RowTable, task: Task, targets: Sequence[Wanted], report: Report) -> Split:
    """Return rows that were checked as a split."""
    columns = columns_of(task)
    inputs, learned = (
        tuple(table.columns[wanted].values for wanted in part) for part in (columns.inputs, targets)
    )
    return Split(
        kind=kind_of_task(task),
        columns=tuple(wanted.name for wanted in columns.inputs),
        inputs=inputs[0] if len(inputs) == 1 else TextPairs(*inputs),
        targets=learned,
        count=table.count,
        source=table.source,
        places=table.places,
        report=report,
    )


def kind_of_task(task: Task) -> Kind:
    """Return what a task's rows hold for the model to read."""
    return KINDS[task.data.kind] if task.data is not None else TEXT
