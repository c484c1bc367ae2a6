"""Findings with a code, a place and a suggestion."""

from freezeplan.diagnostics.capping import capped
from freezeplan.diagnostics.diagnostic import (
    Diagnostic,
    DiagnosticError,
    Fix,
    KeyPart,
    KeyPath,
    Pointer,
    Severity,
    Span,
    diagnostic,
    in_file_order,
)
from freezeplan.diagnostics.registry import Entry, entries, entry

__all__ = [
    "Diagnostic",
    "DiagnosticError",
    "Entry",
    "Fix",
    "KeyPath",
    "KeyPart",
    "Pointer",
    "Severity",
    "Span",
    "capped",
    "diagnostic",
    "entries",
    "entry",
    "in_file_order",
]
