"""The checkpoints of one run: written whole or not at all, read only when every hash fits."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freezeplan.models.run_record import (
    CHECKPOINT_FORMAT,
    CHECKPOINTS,
    file_of,
    read_state,
)
from freezeplan.models.run_record import CHECKPOINT_STATE as STATE
from freezeplan.models.sealed import Altered, fault_of, file_sha256, write_sealed
from freezeplan.runs.flushing import flush, flush_tree
from freezeplan.runs.metrics_log import FILE as LOG

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
    _checked: dict[tuple[Any, ...], str | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def folder(self) -> Path:
        """Where the checkpoints are."""
        return self.run / CHECKPOINTS

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
            record = {"format_version": CHECKPOINT_FORMAT, "step": step, **state, "files": hashes}
            write_sealed(partial / STATE, record)
            flush_tree(partial)
            self._put_in_place(partial, self.folder / name_of(step))
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return self.folder / name_of(step)

    def read(self, name: str) -> Checkpoint:
        """Read a checkpoint's ``state.json`` and check every file against its hash.

        Raises :class:`Damaged`.
        """
        path = self.folder / name
        try:
            state = read_state(self.run, name)
        except Altered as error:
            raise Damaged(str(error)) from None
        if not isinstance(state.get("files"), dict) or not isinstance(state.get("needs", []), list):
            raise Damaged(f"`{STATE}` does not hold what a run writes")
        for reason in self._faults(path, state):
            raise Damaged(reason)
        return Checkpoint(path, state)

    def _faults(self, path: Path, state: Mapping[str, Any]) -> Iterator[str]:
        """Say what is wrong with the files of a checkpoint, and with those of the run that it refers to."""
        found = [fault_of(path / file, file, digest) for file, digest in state["files"].items()]
        for file, digest in (*_table(state, "weights"), *_table(state, "buffers")):
            found.append(self._fault(file, digest))
        log = state.get("log")
        if isinstance(log, dict):
            found.append(self._fault(LOG, log.get("sha256"), log.get("bytes")))
        yield from (reason for reason in found if reason is not None)

    def _fault(self, file: str, digest: Any, length: Any = None) -> str | None:
        """Check a file that checkpoints share, once for all that refer to it in the same state."""
        path = file_of(self.run, file)
        try:
            stamp = path.stat()
        except OSError:
            return fault_of(path, file, digest, length)
        key = (file, digest, length, stamp.st_ino, stamp.st_size, stamp.st_mtime_ns)
        if key not in self._checked:
            self._checked[key] = fault_of(path, file, digest, length)
        return self._checked[key]

    def newest(
        self, check: Callable[[Checkpoint], None] = lambda found: None
    ) -> tuple[Checkpoint | None, dict[str, str]]:
        """Return the newest checkpoint that can be used, and why each newer one cannot, by its name.

        A checkpoint that needs another one (to bring its phase's best epoch back) is used only with it.
        ``check`` looks at what is in one whose hashes all fit; it raises :class:`Damaged`.
        """
        reasons: dict[str, str] = {}
        for name in reversed(self.names()):
            try:
                found = self.read(name)
                check(found)
                for needed in found.state.get("needs", []):
                    self._check_needed(needed)
                return found, reasons
            except Damaged as error:
                reasons[name] = str(error)
        return None, reasons

    def damaged(self, before: str) -> dict[str, str]:
        """Return why each checkpoint older than one cannot be used, for those that cannot."""
        reasons: dict[str, str] = {}
        for name in self.names():
            try:
                if step_of(name) < step_of(before):
                    self.read(name)
            except Damaged as error:
                reasons[name] = str(error)
        return reasons

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

    def hashes(self) -> dict[str, str]:
        """Return the sha256 of the state of each checkpoint that has one."""
        found = {name: self.folder / name / STATE for name in self.names()}
        return {name: file_sha256(path) for name, path in found.items() if path.is_file()}

    def weight_files(self) -> set[str]:
        """Return the files of tensors that some checkpoint refers to; one that cannot be read refers to none."""
        found: set[str] = set()
        for name in self.names():
            with suppress(Altered):
                state = read_state(self.run, name)
                found |= {file for table in ("weights", "buffers") for file, _ in _table(state, table)}
        return found

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
        flush(self.folder)

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


def _table(state: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    found = state.get(name)
    return list(found.items()) if isinstance(found, dict) else []
