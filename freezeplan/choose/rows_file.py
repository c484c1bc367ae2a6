"""A file of rows that a new spec is for: its columns, as they are named or as they are found."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezeplan.data.files import data_file
from freezeplan.data.formats.row_source import Unreadable

VALIDATION = "validation"
TEXT, LABEL, TOKENS, TAGS = "text", "label", "tokens", "tags"
OPTIONS = {name: f"--{name}" for name in (TEXT, LABEL, TOKENS, TAGS)}


@dataclass(frozen=True)
class RowsFile:
    """Name a file of training rows, one of validation rows, and the columns; ``words`` are lists with a tag each."""

    train: Path
    validation: Path | None
    inputs: str
    target: str
    words: bool = False

    def task(self, folder: Path) -> dict[str, Any]:
        """Return the table of its task in a spec of a folder."""
        files = {"train": self.train} | ({VALIDATION: self.validation} if self.validation else {})
        data = {split: _seen_from(folder, path) for split, path in files.items()}
        columns = {TOKENS if self.words else TEXT: self.inputs, TAGS if self.words else LABEL: self.target}
        kind = "token_classification" if self.words else "classification"
        return {"name": "task", "kind": kind, "data": data | columns}


def _seen_from(folder: Path, path: Path) -> str:
    found = Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    return found if found.startswith(".") else f"./{found}"


def rows_file(train: Path, validation: Path | None, columns: Mapping[str, str | None]) -> RowsFile:
    """Return a file of rows with its columns: those that are named, else those of the usual names.

    ``columns`` maps ``text``, ``label``, ``tokens`` and ``tags`` to names, or to None. Rows are words with a tag each
    where ``tokens`` or ``tags`` is named, or where none is and the file's columns say so.
    """
    named = {key: name for key, name in columns.items() if name is not None}
    words = TOKENS in named or TAGS in named or (not named and _holds_words(_columns_of(train)))
    inputs, target = (TOKENS, TAGS) if words else (TEXT, LABEL)
    return RowsFile(train, validation, named.get(inputs, inputs), named.get(target, target), words)


def _holds_words(columns: Collection[str]) -> bool:
    """Tell whether the usual columns of words are there, and those of texts are not as complete."""
    return TOKENS in columns and (TEXT not in columns or (TAGS in columns and LABEL not in columns))


def _columns_of(path: Path) -> tuple[str, ...]:
    """Return the columns of a file's first row, none for one that cannot be read: reading all of it says why."""
    present: dict[str, None] = {}
    try:
        with closing(data_file(path).rows((), present)) as rows:
            next(rows, None)
    except (Unreadable, OSError):
        return ()
    return tuple(present)
