"""The registry of diagnostic codes: what each means, why it exists, an example and its fix."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True)
class Entry:
    """Describe one code; the same record feeds ``freezeplan explain`` and the docs."""

    code: str
    severity: str
    title: str
    what: str
    why: str
    example: str
    fix: str


@lru_cache(maxsize=1)
def entries() -> dict[str, Entry]:
    """Return every code's entry, in the order of the codes."""
    found: dict[str, Entry] = {}
    for path in (files("freezeplan.diagnostics") / "codes").iterdir():
        if path.name.endswith(".toml"):
            table = tomllib.loads(path.read_text("utf-8"))
            found.update({code: Entry(code, **fields) for code, fields in table.items()})
    return dict(sorted(found.items()))


def entry(code: str) -> Entry:
    """Return the entry of ``code``; raises ``KeyError`` when no such code was ever given out."""
    return entries()[code]
