"""Writes files that are there complete or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

import click

from freezeplan.models.run_record import CHECKPOINTS, RUN_MARKER
from freezeplan.models.sealed import Altered, read_object

HEIGHT = 4
"""How far below a run's folder its files lie, at most."""


def check_target(path: Path, option: str = "--out", *, spec: Path | None = None) -> None:
    """Refuse a file that :func:`write_whole` could not write, or that would be lost with it.

    Those are the files of a run, which only the run writes, and the ``spec`` of the command itself. Commands that take
    long ask before they begin. Raises ``click.BadParameter``.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir() or not target.parent.is_dir():
        number = errno.EISDIR if target.is_dir() else errno.ENOENT
        raise click.BadParameter(f"cannot write {path}: {os.strerror(number).lower()}", param_hint=option)
    check_kept(path, option, spec=spec)


def check_kept(path: Path, option: str = "--out", *, spec: Path | None = None) -> None:
    """Refuse to replace a file of a run, or the ``spec`` of the command itself; raises ``click.BadParameter``."""
    target = Path(os.path.realpath(path))
    is_spec = spec is not None and target == Path(os.path.realpath(spec))
    whose = "it is the spec itself" if is_spec else _whose(target)
    if whose:
        raise click.BadParameter(f"{path} would be lost: {whose}; name another file", param_hint=option)


def _whose(target: Path) -> str:
    """Say which run wrote a file; an empty text for any other file."""
    for folder in list(target.parents)[:HEIGHT] if target.is_file() else ():
        try:
            files = read_object(folder / RUN_MARKER).get("files")
        except Altered:
            continue
        name = target.relative_to(folder).as_posix()
        if name in (RUN_MARKER, *(files if isinstance(files, dict) else ())) or name.startswith(
            f"{CHECKPOINTS}/"
        ):
            return f"it belongs to the run in {folder}"
    return ""


def write_whole(path: Path, text: str, option: str = "--out") -> None:
    """Write a text file as UTF-8 so that it is there complete or not at all.

    What a link names is written, not the link; a device or a pipe is written to and stays what it is. Raises
    ``click.BadParameter`` where the file cannot be written, and for a file of a run.
    """
    check_target(path, option)
    write_bytes(path, (text.rstrip("\n") + "\n").encode(), option)


def write_bytes(path: Path, data: bytes, option: str) -> None:
    """Write bytes to a file as :func:`write_whole` does; a file that is there keeps its permissions."""
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            _replace(target, data)
    except OSError as error:
        raise click.BadParameter(f"cannot write {path}: {_reason(error)}", param_hint=option) from None


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
