"""The folder of a run as a report reads it: what can be read is read, and what cannot is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from os.path import isfile
from pathlib import Path
from typing import Any, TypeVar

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import counted, first_line
from freezeplan.models.run_record import RUN_MARKER, file_of, home_of, no_run
from freezeplan.models.sealed import Altered, fault_of, read_object, read_sealed
from freezeplan.outside.regular import read_regular

LOG, PLAN, EVIDENCE, SCORES, TIMES = (
    "metrics.jsonl",
    "plan.json",
    "evidence.json",
    "scores.json",
    "times.json",
)
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError)
"""What reading a record of another form leads to."""
MOST = 2**53
Value = TypeVar("Value")
Record = Mapping[str, Any]


@dataclass
class ReadFolder:
    """Read the files of a run's folder; ``faults`` grow with what is missing, changed, or of another form."""

    asked: Path
    home: Path
    marker: Record
    faults: list[str] = field(default_factory=list)

    def record(self, name: str, *, expected: bool = True) -> Record | None:
        """Return the JSON object in a file, None where there is none; its absence counts if it was ``expected``."""
        path = file_of(self.home, name)
        if not path.exists() and not expected:
            return None
        try:
            found = read_object(path)
        except Altered as error:
            self.faults.append(str(error))
            return None
        self.check(name)
        return found

    def check(self, name: str, length: int | None = None) -> None:
        """Note a file that is not the one that ``run.json`` names."""
        files = self.marker.get("files")
        digest = files.get(name) if isinstance(files, dict) else None
        reason = fault_of(file_of(self.home, name), name, digest, length) if isinstance(digest, str) else None
        if reason is not None:
            self.faults.append(reason)

    def part(self, name: str, make: Callable[[], Value]) -> Value | None:
        """Return what ``make`` returns; where the file ``name`` is of another form, None, and note that."""
        try:
            return make()
        except DiagnosticError as error:
            self.faults.extend(item.message for item in error.diagnostics)
        except MALFORMED:
            self.faults.append(f"`{name}` does not hold what a run writes")
        return None

    def text(self, name: str) -> str | None:
        """Return the text of a file, None where it cannot be read, which is noted."""
        try:
            found = read_regular(file_of(self.home, name)).decode("utf-8")
        except FileNotFoundError:
            self.faults.append(f"`{name}` is missing")
        except (OSError, UnicodeDecodeError) as error:
            self.faults.append(f"`{name}` cannot be read: {first_line(error)}")
        else:
            self.check(name)
            return found
        return None

    def log(self) -> list[Record]:
        """Return the records of the log that count, and note lines that are none."""
        length = self.marker.get("log_bytes")
        try:
            data = read_regular(file_of(self.home, LOG))
        except OSError as error:
            what = (
                "is missing"
                if isinstance(error, FileNotFoundError)
                else f"cannot be read: {first_line(error)}"
            )
            self.faults.append(f"`{LOG}` {what}")
            return []
        counts = length if isinstance(length, int) and length >= 0 else len(data)
        self.check(LOG, counts)
        found = list(_records(data[:counts]))
        bad = sum(item is None for item in found)
        if bad:
            self.faults.append(f"`{LOG}` has {counted(bad, 'line')} that no run writes")
        return [item for item in found if item is not None]


def whole(value: Any) -> int:
    """Return a count as a record holds it; raises ``ValueError`` for one that no run reaches."""
    found = int(value)
    if not -MOST <= found <= MOST:
        raise ValueError("a count that no run reaches")
    return found


def _records(data: bytes) -> Iterator[Record | None]:
    for line in data.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            yield None
            continue
        yield found if isinstance(found, dict) else None


def read_folder(path: Path) -> ReadFolder:
    """Open the folder of a run, or of one of its checkpoints.

    Raises ``DiagnosticError``: FP520 where there is no run, FP521 where ``run.json`` cannot be read at all.
    """
    home, _ = home_of(path)
    marker = file_of(home, RUN_MARKER)
    if not isfile(marker):
        advice = "name the folder of a run or of a comparison, or a file that `probe --out` wrote"
        raise no_run(path, advice)
    try:
        found = ReadFolder(path, home, read_object(marker))
    except Altered as error:
        raise DiagnosticError([_damaged(path, str(error))]) from None
    try:
        read_sealed(marker)
    except Altered as error:
        found.faults.append(str(error))
    return found


def _damaged(path: Path, reason: str) -> Any:
    advice = "copy the folder again, whole, or go on from a checkpoint with `freezeplan train --resume`"
    return diagnostic("FP521", f"the run `{path}` cannot be used: {reason}", help=advice)
