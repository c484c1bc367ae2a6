"""The largest batches whose predicted peak is within a budget, by few looks at the predictor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from freezeplan.cost.estimating import entered, held_trial, notes_on_bytes, trial_of
from freezeplan.cost.memory import ROUNDS, measure_memory
from freezeplan.cost.records import Fitting, FittingBatch
from freezeplan.cost.sharing import sharing_of
from freezeplan.cost.trial import Trial
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import format_bytes
from freezeplan.models.sources import inventory_for
from freezeplan.plan.records import Plan
from freezeplan.spec.locations import attaching
from freezeplan.spec.tables import Spec

MOST_ROWS = 1 << 16
"""Larger batches are not asked about."""
Peak = Callable[[int], int]


@attaching
def fit_batches(
    spec: Spec, plan: Plan, budget: int, length: int | None = None, processes: int = 1
) -> Fitting:
    """Find for each phase the largest batch whose predicted peak is within ``budget`` bytes.

    All tasks get batches of the same size. ``length`` is in tokens and ``processes`` share a batch, each with such a
    budget, as for :func:`freezeplan.cost.estimating.estimate_cost`, which is asked here, too. Raises
    ``DiagnosticError``: FP489 where one row is too much, or an evaluation, and what estimating a cost raises.
    """
    inventory = inventory_for(spec)
    sharing = sharing_of(spec, plan, inventory, processes)
    trial = trial_of(spec, plan, 1, length, sharing)
    with held_trial(trial, spec, plan, inventory, length) as held:
        phases = tuple(
            _fitting(held, optimizer, plan.phases[index].name, budget)
            for index, optimizer in entered(held, plan)
        )
    notes = tuple(notes_on_bytes(replace(trial, batch_size=_smallest(phases)), plan))
    return Fitting(
        budget, trial.inputs.words, phases, notes, processes=sharing.processes, strategy=sharing.way
    )


def _smallest(phases: tuple[FittingBatch, ...]) -> int:
    return min((item.rows for item in phases if item.rows is not None), default=1)


def _fitting(trial: Trial, optimizer: torch.optim.Optimizer | None, phase: str, budget: int) -> FittingBatch:
    learning = trial.learning()
    first = measure_memory(trial, optimizer, learning)
    _check(phase, first.evaluation, "an evaluation", "lower `eval_batch_size`", budget)
    if not learning:
        return FittingBatch(phase, None, first.peak, first.peak, first.evaluation)

    def peak(rows: int) -> int:
        return measure_memory(replace(trial, batch_size=rows), optimizer, learning, ROUNDS - 1).peak

    _check(phase, first.peak, "a step with one row in each batch", SMALLER, budget)
    rows, within, beyond = largest_within(peak, budget, first.peak)
    return FittingBatch(phase, rows, within, beyond, first.evaluation, enough=rows == MOST_ROWS)


SMALLER = "freeze more, keep frozen weights in 16 bits (`frozen_dtype`), or set `gradient_checkpointing`"


def _check(phase: str, needed: int | None, what: str, advice: str, budget: int) -> None:
    if needed is not None and needed > budget:
        message = f"{what} in phase `{phase}` takes {format_bytes(needed)}, more than {format_bytes(budget)}"
        raise DiagnosticError([diagnostic("FP489", message, help=advice)])


def largest_within(peak: Peak, budget: int, of_one: int) -> tuple[int, int, int]:
    """Return the largest number whose peak is within a budget, its peak, and that of the next larger number.

    ``peak`` must not fall; ``of_one``, its value for 1, is within. A peak is nearly a line over the rows, so the next
    number to try stands where the line through the two bounds meets the budget, or in the middle where that fails.

    >>> largest_within(lambda rows: 100 + 7 * rows, 200, 107)
    (14, 198, 205)
    """
    known = {1: of_one}

    def at(rows: int) -> int:
        if rows not in known:
            known[rows] = peak(rows)
        return known[rows]

    low, high = 1, 8
    while high < MOST_ROWS and at(high) <= budget:
        # Beyond the line's own guess, so that most often one look gives the upper bound.
        slope = (at(high) - at(low)) / (high - low)
        low, guess = high, high + (budget - at(high)) / slope if slope > 0 else MOST_ROWS
        high = min(
            MOST_ROWS, max(2 * low, int(guess * 1.05) + 1) if slope <= 0 else max(low + 1, int(guess) + 1)
        )
    if high == MOST_ROWS and at(high) <= budget:
        return MOST_ROWS, at(high), at(high)
    tries = 0
    while high - low > 1:
        slope = (at(high) - at(low)) / (high - low)
        guess = int(low + (budget - at(low)) / slope) if slope > 0 and tries % 3 < 2 else (low + high) // 2
        middle = min(max(guess, low + 1), high - 1)
        low, high = (middle, high) if at(middle) <= budget else (low, middle)
        tries += 1
    return low, at(low), at(high)
