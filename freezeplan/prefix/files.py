"""A store's file: written beside its name, complete before it is valid, and mapped into memory to be read."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from freezeplan.diagnostics.wording import format_bytes
from freezeplan.models.sealed import read_sealed, write_sealed
from freezeplan.prefix.keys import Key, differences
from freezeplan.prefix.refusal import Reason, Refused

VERSION = 1
CHUNK = 1 << 24


class StoreFile:
    """Name the two files of one boundary's entries: the numbers, and a record that makes them valid.

    The record comes last, with the key, the size and the checksum of its numbers: without it, or with that of
    other numbers, none are read.
    """

    def __init__(self, folder: Path, boundary: str) -> None:
        self.folder = folder
        self.numbers = folder / f"{boundary.replace('=', '')}.bin"
        self.record = self.numbers.with_suffix(".json")
        self.partial = folder / f".{self.numbers.name}.partial-{os.getpid()}"

    def remove(self) -> None:
        """Delete what is there."""
        for path in (self.record, self.numbers, self.partial):
            with suppress(OSError):
                path.unlink()

    def fault(self, key: Key) -> str | None:
        """Say why the file cannot be used for a key, None when it can; reads all of it."""
        try:
            if not self.record.exists():
                return "missing"
            record = read_sealed(self.record)
            unlike = differences(record["key"], key)
            if record["version"] != VERSION or unlike:
                return f"made from other {', '.join(unlike) or 'software'}"
            whole = (self.numbers.stat().st_size, checksum(self.numbers)) == (
                record["bytes"],
                record["crc32"],
            )
            return None if whole else "altered"
        except FileNotFoundError:
            return "missing"
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return "unreadable"

    def publish(self, key: Key, crc32: int) -> None:
        """Put the partial file in place and make it valid."""
        with disk_errors(self.folder, self.partial.stat().st_size):
            _sync(self.partial)
            record = {
                "version": VERSION,
                "key": dict(key),
                "bytes": self.partial.stat().st_size,
                "crc32": crc32,
            }
            draft = self.partial.with_name(f".{self.record.name}.partial-{os.getpid()}")
            try:
                write_sealed(draft, record)
                _sync(draft)
                os.replace(self.partial, self.numbers)
                os.replace(draft, self.record)
            finally:
                draft.unlink(missing_ok=True)


class FileWriter:
    """Write a store's numbers in order into a partial file of a size that is claimed at once."""

    def __init__(self, file: StoreFile, size: int) -> None:
        self.file, self.size = file, size
        self.offset = self.crc32 = 0
        with disk_errors(file.folder, size):
            file.folder.mkdir(parents=True, exist_ok=True)
            remove_partial_files(file.folder)
            self.descriptor = os.open(file.partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                self._claim()
            except BaseException:
                self.close()
                file.partial.unlink(missing_ok=True)
                raise

    def append(self, rows: torch.Tensor) -> None:
        """Write some rows behind those that are there."""
        data = memoryview(rows.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        self.crc32 = zlib.crc32(data, self.crc32)
        with disk_errors(self.file.folder, self.size):
            while data:
                written = os.pwrite(self.descriptor, data, self.offset)
                self.offset, data = self.offset + written, data[written:]

    def close(self) -> None:
        """Let go of the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _claim(self) -> None:
        # A hole that the disk cannot fill later would end the process when the map is read.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.descriptor, 0, self.size)
        else:
            os.ftruncate(self.descriptor, self.size)


class FilePart:
    """Write rows into a file of ``size`` bytes that another process, too, writes to."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        with disk_errors(path.parent, size):
            self.descriptor = os.open(path, os.O_RDWR)

    def put(self, rows: torch.Tensor, first: int) -> None:
        """Write some rows, all of one size, so that the first of them is row ``first`` of the file."""
        offset = first * (rows.nbytes // len(rows))
        data = memoryview(rows.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        with disk_errors(self.path.parent, self.size):
            while data:
                written = os.pwrite(self.descriptor, data, offset)
                offset, data = offset + written, data[written:]

    def settle(self) -> None:
        """Have what was written seen by those who open the file from now on."""
        with disk_errors(self.path.parent, self.size):
            os.fsync(self.descriptor)
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def mapped(path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return a file's numbers as a tensor that the operating system reads on demand and never writes back."""
    count = 1
    for size in shape:
        count *= size
    return torch.from_file(str(path), shared=False, size=count, dtype=dtype).view(shape)


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    found = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found = zlib.crc32(chunk, found)
    return found


def state_of(path: Path) -> tuple[int, int, int]:
    """Return what changes when somebody writes to a file: its inode, its size, its time of change (ns)."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def remove_partial_files(folder: Path) -> None:
    """Delete what builds that were killed have left in a folder; other builds that run keep theirs."""
    for path in folder.glob(".*.partial-*"):
        owner = path.name.rpartition("-")[2]
        if not owner.isdigit() or not _alive(int(owner)):
            path.unlink(missing_ok=True)


def free_bytes(folder: Path) -> int:
    """Return how many bytes the disk of a folder, there or to be made, has free."""
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(place).free


@contextmanager
def disk_errors(folder: Path, size: int) -> Iterator[None]:
    """Turn what the disk refuses into a :class:`Refused` (DISK) with the numbers."""
    try:
        yield
    except OSError as error:
        room = f"`{folder}` must take {format_bytes(size)} and has {format_bytes(free_bytes(folder))} free"
        what = f"{error.strerror or error}: {room}"
        raise Refused(Reason.DISK, what) from error


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
