"""What to do where the heads of a spec have nothing to train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from freezeplan.diagnostics import Diagnostic
from freezeplan.spec.tables import Spec

HEADS = "heads"


def advice_on_heads(spec: Spec) -> str | None:
    """Return how the first task whose head has no tensors gets one that learns, None where there is none.

    >>> pairs = {"name": "alike", "kind": "similarity"}
    >>> advice_on_heads(Spec.model_validate({"task": [pairs]}))
    'to learn on a frozen backbone, give the task `alike` a head that trains: head = "compare"'
    """
    for task in spec.task:
        if task.head_that_learns:
            head = f'head = "{task.head_that_learns}"'
            return f"to learn on a frozen backbone, give the task `{task.name}` a head that trains: {head}"
    return None


def advised(problems: Sequence[Diagnostic], spec: Spec) -> list[Diagnostic]:
    """Return problems of patterns, those that name heads without tensors with that advice (FP202)."""
    advice = advice_on_heads(spec)
    return [
        replace(found, help=advice)
        if advice and found.code == "FP202" and found.message.startswith(f"`{HEADS}")
        else found
        for found in problems
    ]
