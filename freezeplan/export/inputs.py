"""The texts or images of a task's own data, on which both sides of an export are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezeplan.data.formats.row_source import Unreadable
from freezeplan.data.pairs import TextPairs
from freezeplan.data.reader import READER, columns_of, read_split
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.models.run_record import home_of
from freezeplan.spec.reading import load_spec
from freezeplan.spec.streams import is_streamed
from freezeplan.train.predict import inputs_in
from freezeplan.train.saved_run import SavedRun

MOST = 256
"""Rows that both sides run on: spread evenly over the data, the longest among them."""
SPLITS = ("test", "validation", "train")


@dataclass(frozen=True)
class ProofInputs:
    """Hold some inputs of a task, ready for the run's encoder, and the name of the data that they are from."""

    values: Sequence[Any]
    source: str


def inputs_of(run: SavedRun, task: str, file: Path | None, column: str | None) -> ProofInputs:
    """Return inputs of a task: of ``file`` where one is named, else of the data that the run's spec names.

    Of a file they are in ``column``, by default the one that the run's data call so. Of the spec's data the test
    split comes first, then validation, then training. Raises ``DiagnosticError`` (FP573) where no rows of the task
    are here.
    """
    values, source = _named(run, task, file, column) if file else _of_spec(run, task)
    kept = [
        value for value in (run.encoder.located(item) for item in values) if run.encoder.flaw(value) is None
    ]
    if not kept:
        raise _none(task, f"`{source}` holds no row that the model can read")
    return ProofInputs(_chosen(kept), source)


def _chosen(values: Sequence[Any]) -> list[Any]:
    step = max(1, -(-len(values) // MOST))
    places = set(range(0, len(values), step))
    if isinstance(values[0], (str, tuple)):
        places.add(max(range(len(values)), key=lambda row: len("".join(values[row]))))
    return [values[row] for row in sorted(places)]


def _named(run: SavedRun, task: str, file: Path, column: str | None) -> tuple[Sequence[Any], str]:
    columns = run.record["tasks"].get(task, {}).get("columns", {})
    kind = run.encoder.kind
    first, second = (*(columns.get(key) for key in kind.takes), None)[:2]
    return list(inputs_in(kind, file, column or first, second)), file.name


def _of_spec(run: SavedRun, name: str) -> tuple[Sequence[Any], str]:
    home, _ = home_of(run.folder)
    reason = "its spec names no data for it"
    spec = load_spec(home / "spec.toml")
    index, task = next((place, task) for place, task in enumerate(spec.task) if task.name == name)
    for split in SPLITS if task.data is not None else ():
        if split == "train" and is_streamed(task):
            reason = "its training rows are streamed"
            continue
        try:
            table = read_split(spec, index, split)
        except Unreadable as problem:
            reason = problem.message
            continue
        finally:
            READER.forget()
        if table is not None:
            columns = [table.columns[wanted].values for wanted in columns_of(task).inputs]
            return (columns[0] if len(columns) == 1 else TextPairs(*columns)), table.source
    raise _none(name, reason)


def _none(task: str, reason: str) -> DiagnosticError:
    message = f"there are no inputs of the task `{task}` to prove the export on: {reason}"
    advice = "name a data file with `--data FILE`"
    return DiagnosticError([diagnostic("FP573", message, help=advice)])
