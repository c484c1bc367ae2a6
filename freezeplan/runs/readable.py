"""Gives a folder that the operating system will not let us read a diagnostic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_line

ADVICE = "copy the folder again, whole, or let this user read it"


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the block into a ``DiagnosticError`` (FP521) that says why the run is of no use."""
    try:
        yield
    except OSError as error:
        name = f" (`{error.filename}`)" if error.filename else ""
        reason = f"{(error.strerror or first_line(error)).lower()}{name}"
        message = f"the run `{folder}` cannot be used: {reason}"
        raise DiagnosticError([diagnostic("FP521", message, help=ADVICE)]) from error
