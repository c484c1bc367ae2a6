"""Advice about optimizers: rates that one does not follow, and one that has nothing to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import floor

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import format_count, format_rate
from freezeplan.plan.owners import Owner
from freezeplan.plan.records import Assignment
from freezeplan.plan.resolution import Resolution
from freezeplan.spec.locations import at_key

OWN_RATES = {
    "ASGD": "steps at the rate of the step before",
    "Rprop": "reads its rate at a tensor's first step only",
}
"""The optimizers of torch that keep a rate in their state, so that a change of it comes late or never."""

MANY_STEPS = 100_000
"""Longer than fine-tuning mostly is: the length of a run whose steps are not known when it is compiled."""


def optimizer_advice(resolution: Resolution, whats: Sequence[Sequence[Assignment]]) -> Iterator[Diagnostic]:
    """Yield the warnings about each optimizer; ``whats`` holds one row of assignments per phase."""
    for owner in resolution.owners:
        label = owner.planned.label
        histories = [row for row in zip(*whats, strict=True) if row[0].optimizer == label]
        trained = [[what.lr for what in row if what.trainable] for row in histories]
        if any(trained):
            yield from _unfollowed_rates(resolution, owner, trained)
            yield from _capped_rates(resolution, owner, max(rate for rates in trained for rate in rates))
        elif label:
            message = f"`{owner.planned.table}` has no parameter that ever trains"
            advice = "make some trainable, correct `match`, or remove the table"
            yield at_key((*owner.path, "match"), "FP423", message, help=advice)


def _unfollowed_rates(
    resolution: Resolution, owner: Owner, trained: Sequence[Sequence[float]]
) -> Iterator[Diagnostic]:
    """Rprop and ASGD do not step at the rates of a schedule, or of a later phase."""
    spec, habit = resolution.spec, OWN_RATES.get(owner.planned.name)
    own = [item.schedule for item in (*spec.phase, spec.gradual) if item is not None and item.schedule]
    schedules = {spec.schedule.name, *(table.name for table in own if table.name)}
    changes = schedules != {"constant"} or any(len(set(rates)) > 1 for rates in trained)
    if habit and changes:
        message = f"`{owner.table.name}` {habit}: the rates that are shown are not followed when they change"
        advice = 'write [schedule] name = "constant" and one rate for all phases, or use another optimizer'
        yield at_key((*owner.path, "name"), "FP426", message, help=advice)


def _capped_rates(resolution: Resolution, owner: Owner, top: float) -> Iterator[Diagnostic]:
    """Adafactor takes the smaller of the rate and 1/sqrt(step).

    Source: ``_single_tensor_adafactor`` of torch, after Shazeer and Stern, 2018, section 8,
    https://arxiv.org/abs/1804.04235
    """
    lengths = [stage.length for stage in resolution.stages]
    in_steps = all(length.unit == "steps" for length in lengths)
    steps = sum(length.count for length in lengths) if in_steps else MANY_STEPS
    if owner.planned.name == "Adafactor" and top * top * steps > 1:
        last = format_count(max(1, floor(1 / (top * top))))
        message = (
            f"`{owner.table.name}` steps at 1/sqrt(step) at most: the rate {format_rate(top)} is not followed "
            f"after step {last}"
        )
        advice = f"use rates below {format_rate(float(f'{steps**-0.5:.1g}'))}, or another optimizer, such as `adamw`"
        yield at_key((*owner.path, "name"), "FP428", message, help=advice)
