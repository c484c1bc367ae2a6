"""The folder of an export: written aside, proved there, and put in its place by one rename, or not there at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_line, some
from freezeplan.runs.claim import claimed
from freezeplan.runs.flushing import flush, flush_tree


def check_free(out: Path, run: Path) -> None:
    """Make sure that a folder may be written, before anything is loaded; writes nothing.

    Raises ``DiagnosticError`` (FP571) for a place that holds something, or lies in the folder of the run.
    """
    real = Path(os.path.realpath(out))
    home = Path(os.path.realpath(run))
    if real == home or home in real.parents:
        raise _taken(
            f"`{out}` lies in the folder of the run, which holds what the run wrote and nothing else"
        )
    if real.is_dir():
        there = sorted(item.name for item in real.iterdir())
        if there:
            raise _taken(f"the folder `{out}` is not empty: it holds {some(there, 3)}")
    elif os.path.lexists(real):
        raise _taken(f"`{out}` is no folder")


@contextmanager
def new_folder(out: Path, run: Path) -> Iterator[Path]:
    """Yield a hidden folder to write into; when the block ends well, it gets its name, and else it is gone.

    Another export into the same place is refused meanwhile (FP505); what a killed one has left is cleared away.
    Raises ``DiagnosticError`` (FP571, FP502).
    """
    check_free(out, run)
    real = Path(os.path.realpath(out))
    partial = real.parent / f".{real.name}.partial-{os.getpid()}"
    with claimed(out), _disk_errors(out):
        for item in real.parent.iterdir():
            if re.fullmatch(rf"\.{re.escape(real.name)}\.partial-\d+", item.name):
                shutil.rmtree(item, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            yield partial
            flush_tree(partial)
            check_free(out, run)
            os.rename(partial, real)
            flush(real.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or first_line(error)
        message = f"the export cannot be written to `{out}`: {reason}"
        advice = "free some space, or name another folder"
        raise DiagnosticError([diagnostic("FP502", message, help=advice)]) from error


def _taken(message: str) -> DiagnosticError:
    return DiagnosticError([diagnostic("FP571", message, help="name a new folder")])
