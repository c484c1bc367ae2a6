"""Findings with a code, a place and a suggestion."""

from freezeplan.diagnostics.diagnostic import (
    Diagnostic,
    DiagnosticError,
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
    "Severity",
    "Span",
    "diagnostic",
    "entries",
    "entry",
    "in_file_order",
]
