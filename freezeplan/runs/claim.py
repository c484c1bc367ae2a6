"""One folder, one run at a time: a lock of the operating system, which ends with the process that holds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from freezeplan.diagnostics import DiagnosticError, diagnostic

INSIDE = ".lock"


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Hold the folder of a run, there or to be made, until the block ends; says whether it is held.

    Of several processes of one run the first holds it for all; the others hold nothing. A killed process holds
    nothing. On a file system that knows no locks, the folder is held by a plain file. Raises
    ``DiagnosticError`` (FP505) at once when another run holds the folder, and (FP502) when no lock can be put
    there.
    """
    if not _is_first():
        yield False
        return
    path = lock_of(folder)
    with _room_for(path, folder):
        lock = _held(path, folder)
        try:
            yield True
        finally:
            # While it is held: whoever opens the file now finds it gone once the lock is theirs, and tries again.
            with suppress(OSError):
                path.unlink(missing_ok=True)
            lock.release()


def check_unclaimed(folder: Path) -> None:
    """Refuse a folder that another run holds (FP505), before anything is computed; nothing is held afterwards."""
    if lock_of(folder).exists():
        with claimed(folder):
            pass


def lock_of(folder: Path) -> Path:
    """Return the lock of a run's folder: beside it, in it where it is a mount or its parent cannot be written."""
    real = Path(os.path.realpath(folder))
    parent_refuses = real.parent.is_dir() and not os.access(real.parent, os.W_OK)
    if real.is_dir() and (os.path.ismount(real) or parent_refuses):
        return real / INSIDE
    return real.with_name(f".{real.name}.lock")


def _held(path: Path, folder: Path) -> FileLock:
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
        path.write_text(f"{os.getpid()}\n", "utf-8")
    except Timeout:
        raise _taken(path, folder) from None
    except OSError as error:
        lock.release()
        raise _refused(folder, error) from None
    return lock


def _is_first() -> bool:
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


@contextmanager
def _room_for(path: Path, folder: Path) -> Iterator[None]:
    """Make the folders above a lock, and take away again those that stay empty."""
    absent = [place for place in path.parents if not place.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(folder, error) from None
    try:
        yield
    finally:
        for place in absent:
            with suppress(OSError):
                place.rmdir()


def _taken(path: Path, folder: Path) -> DiagnosticError:
    try:
        holder = f"process {int(path.read_text('utf-8'))}"
    except (OSError, ValueError):
        holder = "another process"
    message = f"{holder} is working on the run in `{folder}`"
    advice = "wait until it has ended, or stop it; for another run, name another folder"
    return DiagnosticError([diagnostic("FP505", message, help=advice)])


def _refused(folder: Path, error: OSError) -> DiagnosticError:
    message = f"nothing can be written to `{folder}`: {error.strerror or error}"
    return DiagnosticError([diagnostic("FP502", message, help="name another folder")])
