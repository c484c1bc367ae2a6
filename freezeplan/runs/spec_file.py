"""A run's ``spec.toml``: the spec whole, its relative paths as they are seen from the run's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from freezeplan.data.task_rows import SPLITS
from freezeplan.outside.packages import PREFIX, TIMM
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.tables import Spec

SPEC_NOTE = "# The spec of this run, whole; relative paths start at this file's folder.\n\n"
PATTERN = "*?["


def spec_text(spec: Spec, folder: Path | None = None) -> str:
    """Return a spec as TOML, what it extends merged in and what it leaves to defaults left out.

    With the ``folder`` that the text is meant for, relative paths of what is on this machine start there.
    """
    values = spec.model_dump(by_alias=True, exclude_unset=True, exclude_none=True, exclude={"extends"})
    if folder is not None:
        for path in _paths(spec):
            _set(
                values,
                path,
                _seen_from(folder, spec.locations.directory_of(path) or Path.cwd(), path, values),
            )
    return tomli_w.dumps(values)


def _paths(spec: Spec) -> Iterator[KeyPath]:
    """Yield the keys that are set and may hold a path."""
    yield from (
        (("model", key)) for key in ("source", "architecture") if getattr(spec.model, key) is not None
    )
    for index, task in enumerate(spec.task):
        for split in SPLITS:
            if task.data is not None and getattr(task.data, split) is not None:
                yield ("task", index, "data", split)


def _seen_from(folder: Path, start: Path, path: KeyPath, values: Any) -> Any:
    found = _get(values, path)
    if isinstance(found, list):
        return [_relative(text, start, folder) for text in found]
    return _relative(found, start, folder)


def _relative(text: Any, start: Path, folder: Path) -> Any:
    """Return a path as it is seen from a folder; what is no relative path of this machine stays as it is."""
    if not isinstance(text, str) or text.startswith((PREFIX, TIMM, "~")) or os.path.isabs(text):
        return text
    place = os.path.join(start, text)
    if not (text.startswith(".") or any(char in text for char in PATTERN) or os.path.exists(place)):
        return text
    parent, name = os.path.split(os.path.normpath(place))
    try:
        found = os.path.relpath(os.path.join(os.path.realpath(parent), name), os.path.realpath(folder))
    except ValueError:  # another drive
        return os.path.abspath(place)
    return found if found.startswith(".") else os.path.join(".", found)


def _get(values: Any, path: KeyPath) -> Any:
    for part in path:
        values = values[part]
    return values


def _set(values: Any, path: KeyPath, value: Any) -> None:
    _get(values, path[:-1])[path[-1]] = value
