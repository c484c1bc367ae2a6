"""What becomes of an exception that ends a command: its diagnostics, or one line for a fault of the tool itself."""

from __future__ import annotations

import errno
import os
import sys
import traceback

import click

from freezeplan.cli.status import UNUSABLE, status_of
from freezeplan.cli.streams import Settings, print_err, report, set_stream_to_nowhere, unwritable
from freezeplan.cli.version import freezeplan_version
from freezeplan.diagnostics import DiagnosticError, diagnostic

DEBUG = "FREEZEPLAN_DEBUG"


def failed(error: Exception, settings: Settings) -> int:
    """Print what an exception has to say; returns the exit status of a command that it ended."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, MemoryError):
        message = "this machine ran out of memory"
        error = DiagnosticError([diagnostic("FP504", message, help="name a smaller model, or fewer rows")])
    if isinstance(error, DiagnosticError):
        report(error.diagnostics, settings)
        return status_of(error.diagnostics)
    if isinstance(error, OSError) and error.filename is None and error.errno == errno.ENOSPC:
        # What prints a help page writes past our streams.
        set_stream_to_nowhere(sys.stdout)
        return failed(unwritable(sys.stdout, error), settings)
    _report_internal(error, settings)
    return UNUSABLE


def _report_internal(error: Exception, settings: Settings) -> None:
    from freezeplan.render.diagnostics import internal_error

    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    print_err(internal_error(error, version=freezeplan_version(), debug=f"{DEBUG}=1"), settings)
