"""Writes a run's folder so that at any moment it holds one complete state, or does not exist yet."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_line
from freezeplan.models.run_record import NEXT, RUN_MARKER, file_of
from freezeplan.models.sealed import Altered, json_text, read_object
from freezeplan.runs.claim import INSIDE, claimed
from freezeplan.runs.flushing import flush, flush_tree
from freezeplan.runs.interrupts import interrupt_after

UNFINISHED = ("running", "interrupted", "failed")


@dataclass
class RunFolder:
    """Own the folder of one run.

    Files are written into a hidden folder, beside it or in it where it exists already, and go to the disk. One
    rename then decides: of the whole folder to its name, or within one that stays to ``.next``, whose files
    count as moved, and are moved, the marker ``run.json`` last. ``started`` tells whether this run has put
    something there. Of several processes one ``writes``; for the others publishing does nothing but that.
    """

    path: Path
    overwrite: bool = False
    started: bool = False
    writes: bool = True

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder until the block ends, and clear away what a killed run has left.

        Raises ``DiagnosticError`` (FP505) when another run holds it.
        """
        with claimed(self.path) as held:
            if held:
                self.clear()
            yield

    def clear(self) -> None:
        """Remove what killed processes left half written; a folder that one had moved away comes back.

        Only who holds the folder may: what lies there then belongs to nobody.
        """
        real = self._real
        with self.disk_errors():
            for item in _leftovers(real):
                if ".replaced-" in item.name and not real.exists():
                    os.rename(item, real)
                else:
                    shutil.rmtree(item, ignore_errors=True)
            self.settle()

    def check_free(self) -> None:
        """Make sure that a run may be written here, before anything is computed; writes nothing.

        Raises ``DiagnosticError`` (FP501) for a folder that holds something, unless it is an unfinished run
        and ``overwrite`` is set, and (FP502) for a place where nothing can be written.
        """
        with self.disk_errors():
            if self.path.is_dir() and not self._stays():
                self._check_replaceable()
                self._check_movable()
        self.check_writable()

    def check_writable(self) -> None:
        """Make sure that a folder can be written here; raises ``DiagnosticError`` (FP501 for a file, FP502)."""
        if self.path.exists() and not self.path.is_dir():
            raise _taken(f"`{self.path}` is a file", "name a folder that does not exist yet")
        ancestor = next(place for place in (self.path, *self.path.absolute().parents) if place.exists())
        if not (ancestor.is_dir() and os.access(ancestor, os.W_OK)):
            message = f"nothing can be written to `{self.path}`: `{ancestor}` is not a writable folder"
            raise DiagnosticError([diagnostic("FP502", message, help="name another folder")])

    def publish(self, write: Callable[[Path], None]) -> None:
        """Put an epoch in place: ``write`` fills an empty folder, whose files then replace those here.

        Nothing here changes unless ``write`` succeeds; a Ctrl-C while files are moved waits until they are.
        Raises ``DiagnosticError`` (FP502) when the disk refuses.
        """
        if not self.writes:
            self.started = True
            return
        with self.disk_errors():
            self._check_there()
            self.settle()
            partial = self._workplace()
            shutil.rmtree(partial, ignore_errors=True)
            try:
                partial.mkdir(parents=True)
                write(partial)
                flush_tree(partial)
                with interrupt_after():
                    self._put_in_place(partial)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def settle(self) -> None:
        """Move the files into place that are decided on: a process may have been killed while it did that."""
        waiting = self._real / NEXT
        if not waiting.is_dir():
            return
        files = sorted(item for item in waiting.rglob("*") if not item.is_dir())
        for item in sorted(files, key=lambda item: item.name == RUN_MARKER):
            place = self._real / item.relative_to(waiting)
            place.parent.mkdir(exist_ok=True)
            os.replace(item, place)
        for folder in {item.parent for item in files}:
            flush(self._real / folder.relative_to(waiting))
        shutil.rmtree(waiting)

    def _check_there(self) -> None:
        if self.started and not file_of(self._real, RUN_MARKER).is_file():
            raise FileNotFoundError(2, "somebody has removed the folder, or its `run.json`")

    @property
    def _real(self) -> Path:
        return Path(os.path.realpath(self.path))

    def _workplace(self) -> Path:
        """Return where to write: in a folder that stays (it may be a mount), else beside the one to be."""
        name = f".{self._real.name}.partial-{os.getpid()}"
        return self._real / name if self._stays() else self._real.parent / name

    @property
    def replaces(self) -> bool:
        """Whether the first thing to be put here takes the place of another, unfinished run."""
        return self.writes and self.path.is_dir() and not self._stays()

    def _stays(self) -> bool:
        """Whether the folder is there and is to be filled: it is this run's, or holds nothing of use."""
        if self.started:
            return True
        return self.path.is_dir() and all(
            _is_partial(item) or item.name == INSIDE for item in self.path.iterdir()
        )

    def _put_in_place(self, partial: Path) -> None:
        real = self._real
        if partial.parent == real:
            os.rename(partial, real / NEXT)
            flush(real)
            self.settle()
        else:
            old = partial.with_name(partial.name.replace(".partial-", ".replaced-"))
            if real.exists():
                self._check_replaceable()
                os.rename(real, old)
            os.rename(partial, real)
            flush(real.parent)
            shutil.rmtree(old, ignore_errors=True)
        self.started = True

    def _check_movable(self) -> None:
        """Make sure that an unfinished run can be renamed away: it is no mount, and its parent is writable."""
        real = self._real
        if os.path.ismount(real) or real == Path.cwd() or not os.access(real.parent, os.W_OK):
            message = f"the unfinished run `{self.path}` cannot be moved out of the way"
            raise DiagnosticError(
                [diagnostic("FP502", message, help="empty the folder, or name another one")]
            )

    def _check_replaceable(self) -> None:
        status = status_of(self.path)
        if status not in UNFINISHED:
            what = (
                "a finished run"
                if status
                else ", ".join(sorted(item.name for item in self.path.iterdir())[:3])
            )
            raise _taken(f"the folder `{self.path}` is not empty: it holds {what}", "name a new folder")
        if not self.overwrite:
            advice = (
                "name a new folder, or pass --overwrite to replace it once the first new epoch is complete"
            )
            raise _taken(f"the folder `{self.path}` holds an unfinished run", advice)

    @contextmanager
    def disk_errors(self) -> Iterator[None]:
        """Turn a disk's refusal into a diagnostic (FP502) that says what is left."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            kept = (
                f"the step that was saved last is still in `{self.path}`"
                if self.started
                else "nothing was written"
            )
            reason = getattr(error, "strerror", None) or first_line(error)
            message = f"the run cannot be written to `{self.path}`: {reason}"
            help = "free some space or name a folder on another disk with --out"
            raise DiagnosticError([diagnostic("FP502", message, help=help, notes=[kept])]) from error


def _is_partial(item: Path) -> bool:
    return item.name.startswith(".") and ".partial-" in item.name


def _leftovers(real: Path) -> list[Path]:
    """Name what processes were about to put into a folder, or had moved out of the way, beside it and in it."""
    ours = re.compile(rf"\.{re.escape(real.name)}\.(partial|replaced)-\d+")
    places = [place for place in (real.parent, real) if place.is_dir()]
    return [item for place in places for item in place.iterdir() if ours.fullmatch(item.name)]


def status_of(folder: Path) -> str | None:
    """Return how the run in a folder stands, ``finished`` where it does not say; None where there is none."""
    try:
        return read_object(file_of(folder, RUN_MARKER)).get("status", "finished")
    except Altered:
        return None


def _taken(message: str, advice: str) -> DiagnosticError:
    return DiagnosticError([diagnostic("FP501", message, help=advice)])


def write_json(path: Path, record: object) -> None:
    """Write a record as indented JSON in UTF-8."""
    path.write_bytes(json_text(record).encode("utf-8", "surrogatepass"))
