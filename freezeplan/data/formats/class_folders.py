"""Rows of a folder of images: one folder per class, named like it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from freezeplan.data.formats.row_source import Row, RowSource

IMAGE, LABEL = "image", "label"
ADVICE = "put each image into a folder that is named like its class, such as train/cat/1.jpg"


def class_folder_rows(source: RowSource, folder: Path) -> Iterator[Row]:
    """Yield, sorted by path, each file below a folder of classes, as the columns ``image`` and ``label``.

    The class is the first folder on the way to the file. Hidden files and folders do not count. Raises
    ``Unreadable`` for a file that lies in no class folder.
    """
    source.present.update({IMAGE: None, LABEL: None})
    number = 0
    for entry in _entries(source, folder):
        if not entry.is_dir():
            raise source.broken(f"`{entry.name}` lies beside the folders of the classes", ADVICE)
        for path in _files(source, Path(entry.path)):
            number += 1
            row = {IMAGE: str(path.relative_to(folder)), LABEL: entry.name}
            yield number, [row.get(name) for name in source.names]


def _files(source: RowSource, folder: Path) -> Iterator[Path]:
    for entry in _entries(source, folder):
        if entry.is_dir():
            yield from _files(source, Path(entry.path))
        else:
            yield Path(entry.path)


def _entries(source: RowSource, folder: Path) -> list[os.DirEntry[str]]:
    try:
        found = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise source.broken((error.strerror or str(error)).lower(), ADVICE) from None
    return sorted(found, key=lambda entry: entry.name)
