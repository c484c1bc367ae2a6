"""Makes sure that what was written is on the disk, before anything relies on it."""

from __future__ import annotations

import os
from pathlib import Path


def flush(path: Path) -> None:
    """Put a file, or a folder's list of names, on the disk; raises ``OSError`` where a file does not get there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        # Some file systems take no fsync of a folder.
        if path.is_file():
            raise
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """Put all files and folders below a folder on the disk, and its own list of names."""
    for item in (*folder.rglob("*"), folder):
        flush(item)
