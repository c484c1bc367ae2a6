"""Diagnostics about a spec's training data and set-up, pointing at the key that asked for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from freezeplan.diagnostics import Diagnostic, Span, diagnostic
from freezeplan.spec.locations import KeyPath, dotted
from freezeplan.spec.tables import Spec


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
