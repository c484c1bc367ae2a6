"""The one factor that scales every group's learning rate over the steps."""

from __future__ import annotations

from math import ceil

import torch
from transformers import get_scheduler

from freezeplan.diagnostics import Diagnostic
from freezeplan.spec.tables import ScheduleTable, Spec
from freezeplan.train.findings import spot


def warmup_steps(schedule: ScheduleTable, steps: int) -> int:
    """Return the warm-up in steps: an integer is taken as it is, a float as a share of all steps, rounded up.

    >>> warmup_steps(ScheduleTable(warmup=0.06), 100), warmup_steps(ScheduleTable(warmup=5), 100)
    (6, 5)
    """
    return ceil(schedule.warmup * steps) if isinstance(schedule.warmup, float) else schedule.warmup


def build_schedule(
    schedule: ScheduleTable, optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule of transformers that ``[schedule]`` names, over all steps of the run.

    Every one multiplies each group's own rate by the same factor, so ratios between groups stay what the plan
    says. The polynomial schedule ends at 0 and not at transformers' absolute floor of 1e-7.
    """
    floor = {"lr_end": 0.0} if schedule.name == "polynomial" else None
    return get_scheduler(
        schedule.name,
        optimizer,
        num_warmup_steps=warmup_steps(schedule, steps),
        num_training_steps=steps,
        scheduler_specific_kwargs=floor,
    )


def check_schedule(spec: Spec, steps: int) -> tuple[Diagnostic, ...]:
    """Warn of a warm-up that fills the run."""
    warmup, place = warmup_steps(spec.schedule, steps), spot(spec, ("schedule", "warmup"))
    if warmup >= steps:
        message = f"the warm-up of {warmup} steps fills the whole run of {steps}: no group reaches its rate"
        return (place.report("FP467", message, help="a fraction such as warmup = 0.06 fits any length"),)
    return ()
