"""Diagnostics about a spec's training data and set-up, pointing at the key that asked for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from freezeplan.diagnostics import Diagnostic, Span, diagnostic
from freezeplan.spec.locations import KeyPath, dotted
from freezeplan.spec.tables import Spec

SHOWN_ROWS = 5


@dataclass(frozen=True)
class Flaw:
    """Say what is wrong with one row's value: in words that rows may share, and what is this row's own."""

    what: str
    detail: str = ""


@dataclass(frozen=True)
class Spot:
    """Hold the place of one value of a spec: its span when it came from a file, and its key path."""

    span: Span | None
    where: str

    def report(
        self, code: str, message: str, *, help: str | None = None, notes: Iterable[str] = ()
    ) -> Diagnostic:
        """Create a diagnostic that points here."""
        return diagnostic(code, message, span=self.span, where=self.where, help=help, notes=notes)


def spot(spec: Spec, path: KeyPath) -> Spot:
    """Return the place of the value at ``path``, or of the closest table around it that was written."""
    return Spot(spec.locations.value(path), dotted(path))


def rows_phrase(rows: Sequence[int]) -> str:
    """Name rows (counted from 1) in words, the first few of many.

    >>> rows_phrase([3]), rows_phrase([3, 7]), rows_phrase(range(1, 9))
    ('row 3', 'rows 3 and 7', 'rows 1, 2, 3, 4, 5 and 3 more')
    """
    if len(rows) == 1:
        return f"row {rows[0]}"
    shown = [str(row) for row in rows[:SHOWN_ROWS]]
    if len(rows) > SHOWN_ROWS:
        return f"rows {', '.join(shown)} and {len(rows) - SHOWN_ROWS} more"
    return f"rows {', '.join(shown[:-1])} and {shown[-1]}"


def quoted(names: Iterable[str]) -> str:
    """Join names in backquotes.

    >>> quoted(["a", "b"])
    '`a`, `b`'
    """
    return ", ".join(f"`{name}`" for name in names)


def did_you_mean(name: str, known: Iterable[str], what: str) -> str:
    """Suggest the closest of the known names, else list them; ``what`` names their kind in the plural.

    >>> did_you_mean("lable", ["text", "label"], "columns")
    'did you mean `label`?'
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"the {what} are {quoted(known)}" if known else f"there are no {what}"
