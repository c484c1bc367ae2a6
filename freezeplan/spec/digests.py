"""What a spec says, as short digests: one for each file it is written in, as far as the plan depends on it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from freezeplan.spec.extends import PRESET
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.tables import Spec

DIGITS = 16
# Of how a run is trained, the plan holds these; what else is in the table changes no group.
PLANNED = ("epochs", "score", "stop_when", "restore_best")
UNPLANNED = {"version", "extends", "requires"}
HERE = "a mapping"


def digests(spec: Spec, folder: Path) -> dict[str, str]:
    """Return a digest of what stands in each file of a spec, bases and presets included, sorted by name.

    Comments, order of keys, data and the settings of a step do not count. Names are relative to ``folder``.
    """
    found: dict[str, dict[str, Any]] = {}
    for path, value in _entries(spec):
        found.setdefault(_file_of(spec, path, folder), {})[json.dumps(path)] = value
    return {name: digest_of(entries) for name, entries in sorted(found.items())}


def digest_of(value: Any) -> str:
    """Return the first digits of the sha256 of plain JSON types, whatever the order of keys."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _entries(spec: Spec) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the entries of each table and list that the plan depends on."""
    values = spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=UNPLANNED)
    for key, value in values.items():
        if key == "task":
            value = [{name: item[name] for name in item if name != "data"} for item in value]
        if key == "train":
            value = {name: value[name] for name in PLANNED if name in value}
        pairs = enumerate(value) if isinstance(value, list) else value.items()
        yield from (((key, part), item) for part, item in pairs)


def _file_of(spec: Spec, path: KeyPath, folder: Path) -> str:
    place = spec.locations.places.get(path)
    span = place and (place.key or place.value)
    if not span:
        return HERE
    return span.file if span.file.startswith(PRESET) else Path(os.path.relpath(span.file, folder)).as_posix()
