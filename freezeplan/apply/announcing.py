"""Saying in the log what a plan did to a model."""

from __future__ import annotations

import logging

from freezeplan.diagnostics import Severity
from freezeplan.plan.document import totals
from freezeplan.plan.records import Plan

LOG = logging.getLogger("freezeplan")


def announce(plan: Plan, *, applied: bool) -> None:
    """Log what was frozen and grouped (info), and the plan's advice (warnings)."""
    numbers = totals(plan)
    frozen = numbers["tensors"] - numbers["trainable_tensors"]
    LOG.info(
        "%s: %d tensors in %d groups train, %d tensors %s",
        plan.model,
        numbers["trainable_tensors"],
        len(plan.groups),
        frozen,
        "are now frozen" if applied else "are to be frozen (the model was left alone)",
    )
    for item in plan.diagnostics:
        if item.severity is Severity.WARNING:
            LOG.warning("%s: %s", item.code, item.message)
