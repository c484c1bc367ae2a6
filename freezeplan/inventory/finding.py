"""Diagnostics about the model of a spec, with the place of the value they are about."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.spec.locations import KeyPath, Locations, dotted

SOURCE: KeyPath = ("model", "source")
ARCHITECTURE: KeyPath = ("model", "architecture")
CONFIG: KeyPath = ("model", "config")
CLASS: KeyPath = ("model", "class")


def fault(
    locations: Locations,
    path: KeyPath,
    code: str,
    message: str,
    *,
    help: str | None = None,  # noqa: A002 - the field's usual name in compilers
    notes: Iterable[str] = (),
) -> DiagnosticError:
    """Return an error that points at the value written at ``path`` of the spec."""
    return DiagnosticError([about(locations, path, code, message, help=help, notes=notes)])


def about(
    locations: Locations,
    path: KeyPath,
    code: str,
    message: str,
    *,
    help: str | None = None,  # noqa: A002
    notes: Iterable[str] = (),
) -> Diagnostic:
    """Return a diagnostic about the value written at ``path`` of the spec."""
    return diagnostic(code, message, span=locations.value(path), where=dotted(path), help=help, notes=notes)


def closest(word: str, known: Iterable[str], what: str = "did you mean") -> str | None:
    """Return ``did you mean `x`?`` for the known word that is closest, None when none is close.

    >>> closest("distilbart", ["distilbert", "bert"])
    'did you mean `distilbert`?'
    """
    found = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"{what} `{found[0]}`?" if found else None


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message that says something, else its type's name.

    A line that ends with a colon only announces the next one, so both are returned.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(":"):
        return f"{lines[0]} {lines[1]}"
    return lines[0] if lines else type(error).__name__
