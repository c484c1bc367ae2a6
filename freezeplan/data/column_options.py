"""Findings about a file that a command line names: they point at its options, not at keys that nobody wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from freezeplan.diagnostics import Diagnostic, DiagnosticError

LACKS = "FP456"


def at_options(error: DiagnosticError, options: Mapping[str, str], usual: str = "") -> DiagnosticError:
    """Return an error whose findings name the option of a column that is not there.

    ``options`` maps keys of ``data`` to options, ``usual`` is that of all others.
    """
    return DiagnosticError(_at_option(found, options, usual) for found in error.diagnostics)


def _at_option(found: Diagnostic, options: Mapping[str, str], usual: str) -> Diagnostic:
    key = (found.where or "").rpartition(".")[2]
    option = options.get(key, usual) if found.code == LACKS else ""
    advice = naming(found.help, option) if option and found.where is not None else found.help
    return replace(found, where=None, help=advice)


def naming(advice: str | None, option: str) -> str:
    """Add to what is said of a column that is not there which option names another.

    >>> naming("did you mean `text`?", "--column")
    'did you mean `text`?; --column names it'
    """
    return f"{advice}; {option} names it" if advice else f"{option} names it"
