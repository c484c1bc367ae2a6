"""Keeps inventories on disk, so that the second look at a model needs neither torch nor transformers.

The folder is ``FREEZEPLAN_CACHE_DIR``, else ``freezeplan`` in the user's cache folder. ``FREEZEPLAN_CACHE=off``
turns the cache off. Nothing here ever fails: what cannot be read, or belongs to somebody else, is built again;
what cannot be written is not.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from freezeplan.inventory.document import SCHEMA, ForeignDocument, from_record, to_record
from freezeplan.inventory.records import Inventory
from freezeplan.outside.regular import open_regular

MAX_ENTRIES = 256
GZIP_FROM = 100_000
MAX_BYTES = 1 << 28
SUFFIX = ".inventory"
OFF = ("0", "off", "no", "false")


def cached(key: str | None, build: Callable[[], Inventory]) -> Inventory:
    """Return the inventory kept under ``key``, else build it and keep it; without a key only build it.

    What ``build`` raises passes through, and is not kept.
    """
    folder = cache_folder() if key else None
    if folder is None or key is None:
        return build()
    path = folder / f"{key}{SUFFIX}"
    found = load(path)
    if found is None:
        found = build()
        with suppress(OSError, TypeError, ValueError):
            write(path, found)
            remove_oldest(folder)
    return found


def cache_folder() -> Path | None:
    """Return the folder of the cache, which may not exist yet; None when the cache is turned off."""
    if os.environ.get("FREEZEPLAN_CACHE", "").strip().lower() in OFF:
        return None
    own = os.environ.get("FREEZEPLAN_CACHE_DIR")
    try:
        return Path(own) if own else _user_folder() / "freezeplan"
    except RuntimeError:  # nobody's home folder is known
        return None


def _user_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    named = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG standard says that a relative path is to be ignored.
    return Path(named) if os.path.isabs(named) else Path.home() / ".cache"


def load(path: Path) -> Inventory | None:
    """Return the inventory in a file of the cache; None when there is none, or it is not whole and ours."""
    try:
        with open_regular(path) as file:
            if not _is_own(file.fileno()):
                return None
            data = file.read(MAX_BYTES)
        head, _, body = data.partition(b"\n")
        if head.decode("ascii") != _head(path, body):
            return None
        text = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        return from_record(json.loads(text))
    except (OSError, EOFError, ValueError, RecursionError, ForeignDocument):
        return None


def _is_own(handle: int) -> bool:
    """Tell whether a file belongs to who runs this, and nobody else can write it: else it may say anything."""
    if not hasattr(os, "geteuid"):
        return True
    found = os.fstat(handle)
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _head(path: Path, body: bytes) -> str:
    return f"freezeplan inventory {SCHEMA} {path.stem} {hashlib.sha256(body).hexdigest()}"


def write(path: Path, inventory: Inventory) -> None:
    """Write an inventory to a file of the cache, whole or not at all; raises ``OSError`` where it cannot."""
    body = json.dumps(to_record(inventory), separators=(",", ":")).encode()
    body = gzip.compress(body, compresslevel=6, mtime=0) if len(body) > GZIP_FROM else body
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=SUFFIX)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_head(path, body).encode() + b"\n" + body)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def remove_oldest(folder: Path, keep: int = MAX_ENTRIES) -> None:
    """Remove the oldest files of the cache beyond ``keep``; other files in the folder are left alone."""
    entries = []
    with os.scandir(folder) as items:
        for item in items:
            if item.name.endswith(SUFFIX):
                with suppress(OSError):
                    entries.append((item.stat().st_mtime_ns, item.path))
    for _, path in sorted(entries)[: max(0, len(entries) - keep)]:
        with suppress(OSError):
            os.unlink(path)
