"""The checkpoints of one run: written whole or not at all, read only when every hash fits."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT_VERSION = "1.0"
STATE = "state.json"
FOLDER = "checkpoints"
CHUNK = 1 << 20
_NAME = re.compile(r"step-(\d{8,})")
_PARTIAL = ".partial-"


class Damaged(Exception):
    """Say in a plain sentence why a checkpoint cannot be used."""


@dataclass(frozen=True)
class Checkpoint:
    """Hold a checkpoint whose hashes all fit: its folder, and what its ``state.json`` says."""

    path: Path
    state: dict[str, Any]

    @property
    def name(self) -> str:
        """Its folder's name, such as ``step-00000123``."""
        return self.path.name


@dataclass(frozen=True)
class CheckpointStore:
    """Own the folder ``checkpoints`` in the folder of a run."""

    run: Path

    @property
    def folder(self) -> Path:
        """Where the checkpoints are."""
        return self.run / FOLDER

    def names(self) -> list[str]:
        """Return the names of all checkpoints, damaged ones included, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = [item.name for item in self.folder.iterdir() if _NAME.fullmatch(item.name)]
        return sorted(found, key=step_of)

    def write(self, step: int, fill: Callable[[Path], dict[str, Any]]) -> Path:
        """Write the checkpoint of a step and return its folder.

        ``fill`` writes files into an empty folder and returns what ``state.json`` is to hold. The folder gets
        its name only when every file in it is on the disk, so a crash leaves the whole checkpoint or none.
        """
        partial = self.folder / f"{_PARTIAL}{name_of(step)}-{os.getpid()}"
        partial.mkdir(parents=True)
        try:
            state = fill(partial)
            hashes = {item.name: file_sha256(item) for item in sorted(partial.iterdir())}
            _write_state(partial / STATE, {"format_version": FORMAT_VERSION, "step": step, **state}, hashes)
            for item in (*partial.iterdir(), partial):
                _flush(item)
            self._put_in_place(partial, self.folder / name_of(step))
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return self.folder / name_of(step)

    def read(self, name: str) -> Checkpoint:
        """Read a checkpoint's ``state.json`` and check every file against its hash.

        Raises :class:`Damaged`.
        """
        path = self.folder / name
        state = _read_state(path / STATE)
        for file, expected in state["files"].items():
            if not (path / file).is_file():
                raise Damaged(f"it has no `{file}`")
            if file_sha256(path / file) != expected:
                raise Damaged(f"`{file}` is not what was written (its sha256 differs)")
        return Checkpoint(path, state)

    def newest(self) -> tuple[Checkpoint | None, dict[str, str]]:
        """Return the newest checkpoint that can be used, and why each newer one cannot, by its name.

        A checkpoint that needs another one (to bring its phase's best epoch back) is used only with it.
        """
        reasons: dict[str, str] = {}
        for name in reversed(self.names()):
            try:
                found = self.read(name)
                for needed in found.state.get("needs", []):
                    self._check_needed(needed)
                return found, reasons
            except Damaged as error:
                reasons[name] = str(error)
        return None, reasons

    def prune(self, newest: int, last: int, keep: Iterable[str]) -> None:
        """Remove all checkpoints but ``last`` up to the step ``newest`` and those named in ``keep``.

        Those of later steps go too: the run went back behind them because they could not be used.
        """
        names = [name for name in self.names() if step_of(name) <= newest]
        kept = {*names[-last:], *keep}
        for name in self.names():
            if name not in kept:
                self._remove(name)

    def remove(self, names: Iterable[str]) -> None:
        """Remove some checkpoints."""
        for name in list(names):
            self._remove(name)

    def remove_leftovers(self) -> None:
        """Remove what a killed process left half written."""
        if self.folder.is_dir():
            for item in self.folder.iterdir():
                if item.name.startswith(_PARTIAL):
                    shutil.rmtree(item, ignore_errors=True)

    def _check_needed(self, name: str) -> None:
        try:
            self.read(name)
        except Damaged as error:
            raise Damaged(f"it needs `{name}`, which cannot be used: {error}") from None

    def _put_in_place(self, partial: Path, place: Path) -> None:
        if place.exists():
            self._remove(place.name)
        os.rename(partial, place)
        _flush(self.folder)

    def _remove(self, name: str) -> None:
        # Renamed first: a checkpoint that is half removed must not look like one.
        doomed = self.folder / f"{_PARTIAL}{name}-{os.getpid()}-removed"
        os.rename(self.folder / name, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def name_of(step: int) -> str:
    """Return the name of a step's checkpoint.

    >>> name_of(123)
    'step-00000123'
    """
    return f"step-{step:08d}"


def step_of(name: str) -> int:
    """Return the step that a checkpoint's name tells."""
    return int(name.removeprefix("step-"))


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_state(path: Path, state: dict[str, Any], files: dict[str, str]) -> None:
    record = {**state, "files": files}
    record["sha256"] = _own_hash(record)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _read_state(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise Damaged(f"it has no `{STATE}`") from None
    except (OSError, ValueError, RecursionError):
        raise Damaged(f"`{STATE}` is not readable JSON") from None
    if not isinstance(record, dict) or record.get("sha256") != _own_hash(record):
        raise Damaged(f"`{STATE}` is not what was written (its sha256 differs)")
    version = str(record.get("format_version"))
    if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise Damaged(f"it has format_version {version}; this version reads {FORMAT_VERSION}")
    return record


def _own_hash(record: dict[str, Any]) -> str:
    rest = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _flush(path: Path) -> None:
    """Make sure that a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        # Some file systems take no fsync of a folder.
        if path.is_file():
            raise
    finally:
        os.close(handle)
