"""Writes files that are there complete or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import click


def write_whole(path: Path, text: str, option: str = "--out") -> None:
    """Write a text file as UTF-8 so that it is there complete or not at all.

    What a link names is written, not the link; a device or a pipe is written to and stays what it is. Raises
    ``click.BadParameter`` where the file cannot be written.
    """
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
