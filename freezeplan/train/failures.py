"""What went wrong outside freezeplan, as a diagnostic: no memory, a file that is gone, a model's own code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

import freezeplan
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_line
from freezeplan.outside.memory import is_out_of_memory
from freezeplan.prefix import Refused
from freezeplan.train.ranks import gone, is_about_another

HERE = str(Path(freezeplan.__file__).parent)
# torch has no class of its own for a file that it cannot map.
UNOPENED = "unable to open file"
LOOK = "look for what removed or locked it; a run goes on with `freezeplan train --resume`"


@contextmanager
def explained() -> Iterator[None]:
    """Raise ``DiagnosticError`` for what the surroundings and the model's own code are to blame for.

    FP504 for too little memory, of a device or of this machine; FP506 for a forward of the model's own that
    raises; FP507 for a file that cannot be read or written; FP486 for a store that was altered; FP556 for another
    process of the run that is gone. Everything else passes as it is.
    """
    try:
        yield
    except DiagnosticError:
        raise
    except Exception as error:
        found = _explanation(error)
        if found is None:
            raise
        raise DiagnosticError([found]) from error


def _explanation(error: Exception) -> Diagnostic | None:
    if isinstance(error, Refused):
        message = f"the store of the frozen prefix cannot be read any more: {error}"
        advice = "go on from the last checkpoint with `freezeplan train --resume`: it is computed anew"
        return diagnostic("FP486", message, help=advice)
    if is_about_another(error):
        return gone(error)
    place = _memory(error)
    if place is not None:
        what = f": {first_line(error)}" if str(error) else ""
        advice = "lower train.batch_size (train.accumulation keeps the step's size) or train.max_length"
        return diagnostic("FP504", f"{place} ran out of memory{what}", help=advice)
    if isinstance(error, OSError) and error.filename is not None:
        message = f"`{error.filename}` cannot be used: {(error.strerror or str(error)).lower()}"
        return diagnostic("FP507", message, help=LOOK)
    if isinstance(error, RuntimeError) and UNOPENED in str(error):
        return diagnostic("FP507", f"a file cannot be used: {first_line(error)}", help=LOOK)
    return _of_forward(error)


def _memory(error: Exception) -> str | None:
    if isinstance(error, torch.OutOfMemoryError):
        return "the device"
    return "this machine" if is_out_of_memory(error) else None


def _of_forward(error: Exception) -> Diagnostic | None:
    """Name the model's module in whose forward an error was raised, unless it was raised by freezeplan."""
    module, place, ours = None, "", True
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        code, owner = trace.tb_frame.f_code, trace.tb_frame.f_locals.get("self")
        if isinstance(owner, torch.nn.Module) and code.co_name == "forward" and not _is_ours(owner):
            module = type(owner).__name__
        place, ours = f"{code.co_filename}:{trace.tb_lineno}", code.co_filename.startswith(HERE)
        trace = trace.tb_next
    if module is None or ours:
        return None
    message = f"the forward of `{module}`, the model's own code, failed: {type(error).__name__}: {first_line(error)}"
    advice = "its code refuses these inputs or this configuration; freezeplan runs it as it is"
    return diagnostic("FP506", message, help=advice, notes=[f"raised at {place}"])


def _is_ours(owner: Any) -> bool:
    return type(owner).__module__.partition(".")[0] == "freezeplan"
