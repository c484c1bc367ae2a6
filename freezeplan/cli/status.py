"""Exit statuses, and which diagnostics lead to which."""

from __future__ import annotations

from collections.abc import Iterable

from freezeplan.diagnostics import Diagnostic

CLEAN = 0
FOUND = 1
UNUSABLE = 2
STOPPED = 128
"""To which the number of the signal is added, as a shell does: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""

# What was named on the command line cannot be used, so that nothing was found out about a spec.
UNREADABLE = frozenset(
    {
        *("FP001", "FP002", "FP003", "FP004"),  # a spec that cannot be read
        *("FP213", "FP217"),  # a parameter or a phase that is not there
        *("FP501", "FP502", "FP505"),  # a folder that cannot be written
        *("FP542", "FP546"),  # a run that cannot be resumed
        *("FP520", "FP521", "FP530"),  # a run that cannot be loaded, a text that is none
        *("FP581", "FP582", "FP583", "FP584", "FP585"),  # a lock or a plan that cannot be read back
        *(
            "FP571",
            "FP573",
            "FP574",
            "FP576",
            "FP577",
            "FP578",
        ),  # a place, rows or a task that an export lacks
    }
)


def status_of(items: Iterable[Diagnostic], *, strict: bool = False) -> int:
    """Return 0 without errors, 2 when an input could not be read, else 1; ``strict`` counts warnings."""
    items = tuple(items)
    if any(item.code in UNREADABLE for item in items):
        return UNUSABLE
    if any(item.is_error or (strict and item.severity == "warning") for item in items):
        return FOUND
    return CLEAN
