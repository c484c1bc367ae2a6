"""Checks of lists of patterns and names: nothing twice, nothing empty, nothing taken away that was just named."""

from __future__ import annotations

from collections.abc import Iterator

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import printable
from freezeplan.spec.document import Document
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.problems import label


def cancelled_matches(document: Document, path: KeyPath) -> Iterator[Diagnostic]:
    """Yield a problem for each pattern of `except` that takes away a whole pattern of `match`."""
    matched = {pattern for _, pattern in document.strings((*path, "match"))}
    for place, pattern in document.strings((*path, "except")):
        if pattern in matched:
            message = f"`except` takes away the whole of `{printable(pattern)}`, which `match` names"
            yield at_key(place, "FP124", message, help="remove the pattern from both, or narrow one")


def repeated_entries(document: Document, path: KeyPath) -> Iterator[Diagnostic]:
    """Yield a problem for each entry of a list that is empty or stands there before."""
    seen: set[str] = set()
    for place, entry in document.strings(path):
        if not entry.strip():
            yield at_key(place, "FP114", f"{label(place)} is empty", help="remove the entry")
        elif entry in seen:
            message = f"`{printable(entry)}` stands twice in {label(path)}"
            yield at_key(place, "FP114", message, help="remove one of the two")
        seen.add(entry)
