"""What ``freezeplan diff`` takes on either side: a spec, a plan, a lock, or the folder of a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezeplan.cli.compiling import compiled
from freezeplan.cli.locking import head_of, read_lock_file


@dataclass(frozen=True)
class Side:
    """Hold one side: what it is called, its kind, its comparable record, and what it came from, where that is known."""

    name: str
    kind: str
    record: Mapping[str, Any]
    head: Mapping[str, Any] | None = None

    @property
    def about(self) -> dict[str, Any]:
        """What JSON says of the side."""
        return {"name": self.name, "kind": self.kind, "model": self.record["model"]["label"]}


def read_side(path: Path, model: str | None = None) -> Side:
    """Read one side by what it is; ``model`` stands in for the model of a spec.

    Raises ``DiagnosticError`` for what cannot be read, or does not compile.
    """
    kind = kind_of(path)
    if kind == "stream":
        return _stream(path)
    if kind == "spec":
        return _spec(path, model)
    if kind == "lock":
        lock = read_lock_file(path)
        return Side(path.as_posix(), kind, lock.record, lock.head)
    return Side(path.as_posix(), kind, _plan_record(path, kind))


def kind_of(path: Path) -> str:
    """Return what a path is taken for, by what it is and how it ends.

    A stream is standard input (``-``), or a pipe such as ``<(git show main:topic.lock)``.
    """
    if path.is_dir():
        return "run"
    if str(path) == "-" or path.is_fifo():
        return "stream"
    return {".json": "plan", ".lock": "lock"}.get(path.suffix, "spec")


def _spec(path: Path, model: str | None) -> Side:
    from freezeplan.plan.comparable import comparable
    from freezeplan.plan.document import to_record

    work = compiled(path, model)
    record = comparable(to_record(work.plan))
    if model is not None:
        return Side(f"{path.as_posix()} with {model}", "spec", record)
    return Side(path.as_posix(), "spec", record, head_of(work, path))


def _stream(path: Path) -> Side:
    """Read a lock or a plan to its end, told from how it begins."""
    from freezeplan.plan.lock_reading import read_lock
    from freezeplan.plan.reading import unreadable_plan

    name = "standard input" if str(path) == "-" else str(path)
    data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unreadable_plan(name, str(error)) from None
    if text.lstrip().startswith("{"):
        return Side(name, "plan", _comparable(text, name))
    lock = read_lock(text, name)
    return Side(name, "lock", lock.record, lock.head)


def _plan_record(path: Path, kind: str) -> dict[str, Any]:
    from freezeplan.outside.regular import read_regular
    from freezeplan.plan.reading import unreadable_plan

    file = _plan_of_run(path) if kind == "run" else path
    try:
        text = read_regular(file).decode("utf-8")
    except FileNotFoundError:
        raise unreadable_plan(str(file), "there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable_plan(str(file), str(error)) from None
    return _comparable(text, str(file))


def _comparable(text: str, name: str) -> dict[str, Any]:
    from freezeplan.plan.comparable import comparable
    from freezeplan.plan.reading import plan_from_record, record_from_json, unreadable_plan

    record = record_from_json(text, name)
    if "assignments" in record:
        plan_from_record(record, name)  # It must be whole, and go together.
    try:
        return comparable(record)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise unreadable_plan(name, f"a part of it is missing or damaged ({error})") from None


def _plan_of_run(folder: Path) -> Path:
    from freezeplan.models.run_record import RUN_MARKER, file_of, home_of, no_run

    home, _ = home_of(folder)
    if not file_of(home, RUN_MARKER).exists():
        raise no_run(folder)
    return file_of(home, "plan.json")
