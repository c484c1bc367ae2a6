"""The files that a config of MMEngine builds upon, merged as MMEngine merges them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from freezeplan.diagnostics import Span
from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.python_file import BASE, from_python
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.sources import SourceText, UnreadableSpec, read_file

DELETE = "_delete_"
DEEPEST = 16
Places = dict[KeyPath, Span]


def with_bases(config: ConfigFile, path: Path) -> ConfigFile:
    """Return a config with what its ``_base_`` files say, where all of them are here; else as it stands.

    A table of the file is merged into that of its bases, key by key; ``_delete_=True`` in it takes away the base's.
    Raises ``DiagnosticError``: FP190 for a base that cannot be read, FP194 for one key in two bases.
    """
    data, places = _merged(config, path, 0)
    return replace(config, data=data, places={**places, (): config.source.first})


def _merged(config: ConfigFile, path: Path, depth: int) -> tuple[dict[Any, Any], Places]:
    data, places = dict(config.data), dict(config.places)
    found = [_base(path.parent, name) for name in _names(config)]
    if not found or None in found or depth > DEEPEST:
        return data, places
    whole: dict[Any, Any] = {}
    whole_places: Places = {}
    for base, source in filter(None, found):
        inner = ConfigFile(source, *from_python(source))
        base_data, base_places = _merged(inner, base, depth + 1)
        if twice := whole.keys() & base_data.keys() - {BASE}:
            message = f"there it is an error: `{min(twice)}` is in two files of `_base_`"
            raise config.error((BASE,), "FP194", message)
        whole |= base_data
        whole_places |= base_places
    del data[BASE]
    return _into(data, whole), {**whole_places, **places}


def _names(config: ConfigFile) -> list[Any]:
    given = config.peek(BASE)
    return given if isinstance(given, list) else [given] if isinstance(given, str) else []


def _base(folder: Path, name: Any) -> tuple[Path, SourceText] | None:
    """Return the file of a base and its text, None where it is not here, or named otherwise than by a relative path."""
    if not isinstance(name, str) or "::" in name or not name.endswith(".py"):
        return None
    path = folder / name
    try:
        return path, read_file(path)
    except UnreadableSpec:
        return None


def _into(child: Mapping[Any, Any], base: Mapping[Any, Any]) -> dict[Any, Any]:
    """Merge a table into that of its base."""
    merged = dict(base)
    for key, value in child.items():
        if not isinstance(value, Mapping):
            merged[key] = value
            continue
        inside = {name: item for name, item in value.items() if name != DELETE}
        below = merged.get(key)
        joins = isinstance(below, Mapping) and not value.get(DELETE)
        merged[key] = _into(inside, below if joins else {})
    return merged
