"""What ``freezeplan diff`` takes on either side: a spec, a plan, a lock, or the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezeplan.cli.compiling import compiled
from freezeplan.cli.locking import head_of, read_lock_file
from freezeplan.diagnostics import DiagnosticError, diagnostic


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
    if kind == "spec":
        return _spec(path, model)
    if kind == "lock":
        lock = read_lock_file(path)
        return Side(path.as_posix(), kind, lock.record, lock.head)
    return Side(path.as_posix(), kind, _plan_record(path, kind))


def kind_of(path: Path) -> str:
    """Return what a path is taken for, by what it is and how it ends."""
    if path.is_dir():
        return "run"
    return {".json": "plan", ".lock": "lock"}.get(path.suffix, "spec")


def _spec(path: Path, model: str | None) -> Side:
    from freezeplan.plan.comparable import comparable
    from freezeplan.plan.document import to_record

    work = compiled(path, model)
    record = comparable(to_record(work.plan))
    if model is not None:
        return Side(f"{path.as_posix()} with {model}", "spec", record)
    return Side(path.as_posix(), "spec", record, head_of(work, path))


def _plan_record(path: Path, kind: str) -> dict[str, Any]:
    from freezeplan.outside.regular import read_regular
    from freezeplan.plan.comparable import comparable
    from freezeplan.plan.reading import record_from_json, unreadable_plan

    file = _plan_of_run(path) if kind == "run" else path
    try:
        text = read_regular(file).decode("utf-8")
    except FileNotFoundError:
        raise unreadable_plan(str(file), "there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable_plan(str(file), str(error)) from None
    record = record_from_json(text, str(file))
    try:
        return comparable(record)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise unreadable_plan(str(file), f"a part of it is missing or damaged ({error})") from None


def _plan_of_run(folder: Path) -> Path:
    from freezeplan.models.run_record import RUN_MARKER, file_of, home_of

    home, _ = home_of(folder)
    if not file_of(home, RUN_MARKER).exists():
        message = f"`{folder}` is not the folder of a run: it has no `{RUN_MARKER}`"
        raise DiagnosticError([diagnostic("FP520", message, help="name the folder that `train --out` wrote")])
    return file_of(home, "plan.json")
