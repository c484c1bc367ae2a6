"""The one factor that scales every group's rate, step by step, and the stretches of phases it runs over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from math import ceil, floor

from freezeplan.plan.records import PhaseSchedule, Plan
from freezeplan.spec.tables import ScheduleTable

Factor = Callable[[int], float]
# Of transformers' schedules, the one with an absolute rate at its end: 1e-7, unless told otherwise.
FLOORS = {"polynomial": {"lr_end": 0.0}}


def warmup_steps(schedule: PhaseSchedule | ScheduleTable, steps: int) -> int:
    """Return the warm-up in steps: an integer is taken as it is, a float as a share of the steps, rounded up.

    >>> warmup_steps(ScheduleTable(warmup=0.06), 100), warmup_steps(ScheduleTable(warmup=5), 100)
    (6, 5)
    """
    if isinstance(schedule.warmup, float):
        return ceil(_share(schedule.warmup, steps))
    return schedule.warmup


def _share(fraction: float, steps: int) -> Fraction:
    """Return a share of the steps exactly as it is written: 0.07 of 100 is 7, and not a little more."""
    return Fraction(repr(float(fraction))) * steps


def schedule_factor(schedule: PhaseSchedule, steps: int) -> Factor:
    """Return the function that gives the factor of a stretch's step, counted from 0.

    A group's rate in step ``i`` is its rate in the plan times this factor, so the ratios between groups are
    always the plan's. ``steps`` is the length of the whole stretch (see :func:`stretch_steps`), at least 1.
    The schedules are those of transformers, without absolute floors (``polynomial`` ends at 0), and
    ``slanted_triangular`` (see :func:`slanted_triangular`).

    >>> from freezeplan.plan.records import PhaseSchedule
    >>> factor = schedule_factor(PhaseSchedule("linear", 2, (), 0), 6)
    >>> [factor(step) for step in range(6)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]
    """
    if schedule.name == "slanted_triangular":
        return partial(slanted_triangular, steps=steps, **dict(schedule.options))
    return _of_transformers(schedule.name, warmup_steps(schedule, steps), steps)


def _of_transformers(name: str, warmup: int, steps: int) -> Factor:
    """Read the factor off the schedule that transformers builds for an optimizer of rate 1."""
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    built = get_scheduler(
        name,
        optimizer,
        num_warmup_steps=warmup,
        num_training_steps=steps,
        scheduler_specific_kwargs=FLOORS.get(name),
    )
    (factor,) = built.lr_lambdas
    return lambda step: float(factor(step))


def slanted_triangular(step: int, *, steps: int, cut_frac: float = 0.1, ratio: float = 32.0) -> float:
    """Return ULMFiT's slanted triangular factor: a short linear rise, then a long linear fall.

    With ``cut = floor(steps * cut_frac)``, ``p = step / cut`` before the cut and
    ``p = 1 - (step - cut) / (steps - cut)`` from it on; the factor is ``(1 + p * (ratio - 1)) / ratio``. It
    begins at ``1 / ratio``, reaches 1 at the cut, and would be back at ``1 / ratio`` after the last step.

    The formula is Howard and Ruder's (Universal Language Model Fine-tuning for Text Classification, 2018,
    section 3.2, https://arxiv.org/abs/1801.06146). Their denominator, ``cut * (1 / cut_frac - 1)``, equals
    ``steps - cut`` when ``steps * cut_frac`` is whole; otherwise it is smaller and ``p`` would fall below 0
    (and with ``cut = 0`` it is a division by 0), so ``steps - cut`` stands in its place.

    >>> [slanted_triangular(step, steps=10, cut_frac=0.2, ratio=5.0) for step in (0, 1, 2, 6)]
    [0.2, 0.6, 1.0, 0.6]
    """
    cut = floor(_share(cut_frac, steps))
    p = step / cut if step < cut else 1 - (step - cut) / (steps - cut)
    return (1 + p * (ratio - 1)) / ratio


def stretch_steps(plan: Plan, phase_steps: Sequence[int], phase: int) -> tuple[int, int]:
    """Return how many steps of a phase's stretch come before the phase, and how many the stretch has.

    A stretch is the row of phases that share one schedule (equal ``schedule.stretch``). ``phase_steps`` holds
    the length of every phase in optimizer steps; of one that a metric ends, the most it can have.
    """
    if len(phase_steps) != len(plan.phases):
        raise ValueError(f"{len(plan.phases)} phases, but {len(phase_steps)} lengths")
    if plan.freeze_when is not None:
        # Where one ends and the next begins, the run decides: together they are as long as each is at most.
        return 0, phase_steps[phase]
    stretches = [item.schedule.stretch for item in plan.phases]
    same = [at for at, stretch in enumerate(stretches) if stretch == stretches[phase]]
    return sum(phase_steps[at] for at in same if at < phase), sum(phase_steps[at] for at in same)
