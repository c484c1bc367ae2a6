"""Reads regular files only: a pipe would be waited for, and a device read without end."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 1 << 28


class UnreadableFile(OSError):
    """Say in a few plain words why a file is not read."""

    def __str__(self) -> str:
        """Return the words alone, without a number before them."""
        return str(self.args[-1])


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading its bytes; links are followed.

    Never waits: a pipe, a socket or a device is refused before it is opened, and once more after. Raises
    :class:`UnreadableFile` with the reason in words, ``FileNotFoundError`` where there is nothing.
    """
    try:
        _check_kind(os.stat(path))
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (UnreadableFile, FileNotFoundError):
        raise
    except (OSError, ValueError) as error:  # a null byte in a name is a ValueError
        raise UnreadableFile(_reason(error)) from None
    file = os.fdopen(handle, "rb")
    try:
        _check_kind(os.fstat(handle))
    except UnreadableFile:
        file.close()
        raise
    return file


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the bytes of a regular file of at most ``most`` bytes; raises as :func:`open_regular` does."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise UnreadableFile(f"it is larger than {most} bytes")
    return data


def special_file(folder: Path) -> str | None:
    """Return the name of the first thing in a folder that a library would wait for: a pipe, socket or device.

    None where there is none, or where the folder cannot be listed. Folders in it are not looked into.
    """
    try:
        with os.scandir(folder) as items:
            return min((item.name for item in items if _is_special(item)), default=None)
    except OSError:
        return None


def _is_special(item: os.DirEntry[str]) -> bool:
    try:
        mode = item.stat().st_mode
    except OSError:  # a link that leads nowhere
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _check_kind(found: os.stat_result) -> None:
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise UnreadableFile("it is a folder, not a file")
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        raise UnreadableFile("it is a pipe, not a file")
    raise UnreadableFile("it is a device, not a file")


def _reason(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
