"""A merged spec before validation: its data, and where its parts stand."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from freezeplan.diagnostics.wording import printable
from freezeplan.spec.locations import KeyPath, Locations, dotted

MAX_SHOWN = 60


@dataclass(frozen=True)
class Document:
    """Hold plain data as TOML or a mapping gave it, of any types, with the places of its parts."""

    data: dict[str, Any]
    locations: Locations

    def at(self, path: KeyPath) -> Any:
        """Return what stands at a path, None where nothing does."""
        value: Any = self.data
        for part in path:
            if not _holds(value, part):
                return None
            value = value[part]
        return value

    def known(self, path: KeyPath) -> KeyPath:
        """Return a path without the parts that lead to nothing written."""
        kept: KeyPath = ()
        value: Any = self.data
        for part in path:
            if _holds(value, part):
                kept, value = (*kept, part), value[part]
        return kept

    def entries(self, *path: str | int) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
        """Yield the path and the table of each entry of an array of tables, skipping what is no table."""
        array = self.at(path)
        for index, entry in enumerate(array if isinstance(array, list) else ()):
            if isinstance(entry, dict):
                yield (*path, index), entry

    def table(self, key: str) -> dict[str, Any]:
        """Return a top-level table, empty where it is absent or no table."""
        value = self.data.get(key)
        return value if isinstance(value, dict) else {}

    def strings(self, path: KeyPath) -> list[tuple[KeyPath, str]]:
        """Return the strings of a value that is one string or a list, each with its path."""
        value = self.at(path)
        if isinstance(value, str):
            return [(path, value)]
        items = enumerate(value) if isinstance(value, list) else ()
        return [((*path, index), item) for index, item in items if isinstance(item, str)]

    def line_of(self, path: KeyPath) -> str:
        """Say where a path is written, for a note."""
        span = self.locations.key(path)
        return str(span) if span else f"`{dotted(path)}`"


def written(value: Any) -> str:
    """Write a value the way TOML does, shortened, whatever it is.

    >>> written("2e-5"), written(True), written([1])
    ('the string "2e-5"', 'true', 'an array')
    """
    if isinstance(value, str):
        text = value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "…"
        return f'the string "{printable(text)}"'
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if abs(value) < 1 << 64 else "a very large number"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return "a date or time"
    names = {list: "an array", dict: "a table"}
    return names.get(type(value), f"a value of type {type(value).__name__}")


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)
