"""A comparison on disk: its record, what each trial's validation rows counted for, and what makes two the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy

from freezeplan.choose.comparison_records import CandidateTrial, StrategyComparison, comparison_from_record
from freezeplan.choose.outcomes import Outcome
from freezeplan.choose.trials import Outcomes
from freezeplan.data.reader import parts_of
from freezeplan.data.task_rows import SPLITS
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.runs.spec_file import spec_text
from freezeplan.spec.tables import Spec

FILE, OUTCOMES = "comparison.json", "outcomes"


def identity_of(specs: Sequence[Spec], told: Sequence[str]) -> str:
    """Return a hash of what makes comparisons the same: the specs, their files as they are, and what else is told."""
    parts = [
        (part.name, str(part.signature))
        for spec in specs
        for index, _ in enumerate(spec.task)
        for split in SPLITS[:2]
        for part in parts_of(spec, index, split)
    ]
    record = json.dumps([[spec_text(spec) for spec in specs], parts, list(told)])
    return hashlib.sha256(record.encode()).hexdigest()


def read_comparison(folder: Path, identity: str | None = None) -> StrategyComparison | None:
    """Return the comparison in a folder, None where there is none.

    Raises ``DiagnosticError`` (FP593) for one that cannot be read, or is of another ``identity``.
    """
    try:
        found = comparison_from_record(json.loads((folder / FILE).read_text("utf-8")))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except (ValueError, OSError) as error:
        message = f"the comparison in `{folder}` cannot be read: {error}"
        raise DiagnosticError([diagnostic("FP593", message, help="name another folder")]) from None
    if identity is not None and found.identity != identity:
        message = f"`{folder}` holds the comparison of another spec, other data or other strategies"
        advice = "put them back as they were, or name another folder with `--out`"
        raise DiagnosticError([diagnostic("FP593", message, help=advice)])
    return found


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, "utf-8", newline="\n")
    os.replace(partial, path)


def _outcome_file(folder: Path, run: str, epochs: int) -> Path:
    return folder / OUTCOMES / f"{Path(run).name}-{epochs}.npz"


def save_outcomes(folder: Path, run: str, epochs: int, outcomes: Outcomes) -> None:
    path = _outcome_file(folder, run, epochs)
    path.parent.mkdir(parents=True, exist_ok=True)
    numpy.savez(path, **{f"{outcome.how}/{task}": outcome.rows for task, outcome in outcomes.items()})


def read_outcomes(folder: Path, trial: CandidateTrial) -> dict[str, Outcome]:
    """Return what each validation row counted for in a trial; raises ``DiagnosticError`` (FP593)."""
    try:
        with numpy.load(_outcome_file(folder, trial.run, trial.epochs), allow_pickle=False) as arrays:
            return {
                name.partition("/")[2]: Outcome(arrays[name], name.partition("/")[0]) for name in arrays.files
            }
    except (OSError, ValueError) as error:
        message = f"the comparison in `{folder}` cannot be read: {error}"
        raise DiagnosticError([diagnostic("FP593", message, help="name another folder")]) from None
