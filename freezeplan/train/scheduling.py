"""The phases of a plan laid out over the data: which tasks learn, how many steps, at which rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from freezeplan.apply.schedules import Factor, schedule_factor, stretch_steps, warmup_steps
from freezeplan.diagnostics import Diagnostic
from freezeplan.plan.learning import learning_tasks
from freezeplan.plan.records import Phase, Plan
from freezeplan.plan.stepping import batch_sizes_of
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.streams import rows_per_pass
from freezeplan.spec.tables import Spec
from freezeplan.train.batches import Course, Lengths


@dataclass(frozen=True)
class ScheduledPhase:
    """Hold one phase with what the data make of it.

    ``course`` is None when no task learns in it; it then takes no step. ``steps`` is its length, of a phase
    that a metric ends the most it can have. ``before`` counts the steps of its stretch before it, ``factor``
    maps a step of the stretch to the factor on every rate. ``groups`` names the groups that train in it.
    """

    index: int
    phase: Phase
    course: Course | None
    steps: int
    before: int
    factor: Factor
    groups: frozenset[str]

    def after(self, steps: int) -> ScheduledPhase:
        """Return the phase as it is when it begins after so many steps of a run that is as long as the phase."""
        return replace(self, before=steps, steps=self.steps - steps)

    @property
    def epochs(self) -> int:
        """The epochs it has at most; one that the end of the phase cuts short counts."""
        return ceil(self.steps / self.course.steps_per_epoch) if self.course else 0

    def factor_at(self, step: int) -> float:
        """Return the factor on every rate in a step of the phase, counted from 0."""
        return self.factor(self.before + step)

    def epoch_end(self, step: int) -> int:
        """Return the number of the phase's steps after which it is evaluated next."""
        return min(self.course.epoch_end(step), self.steps) if self.course else 0


def schedule_phases(spec: Spec, plan: Plan, rows: Mapping[str, int]) -> tuple[ScheduledPhase, ...]:
    """Lay a plan's phases out over tasks with so many training rows, in the order of the spec."""
    courses = [_course(spec, plan, phase, rows) for phase in range(len(plan.phases))]
    steps = [
        course.steps(phase.length) if course else 0
        for phase, course in zip(plan.phases, courses, strict=True)
    ]
    return tuple(_scheduled(plan, index, courses[index], steps) for index in range(len(courses)))


def whole(plan: Plan, lengths: Sequence[int]) -> int:
    """Return the length of a whole run, at most, from those of its phases."""
    return max(lengths, default=0) if plan.freeze_when else sum(lengths)


def _course(spec: Spec, plan: Plan, phase: int, rows: Mapping[str, int]) -> Course | None:
    sizes = {name: rows[name] for name in learning_tasks(spec, plan, phase)}
    streamed = frozenset(rows_per_pass(spec))
    return Course(sizes, spec.train, batch_sizes_of(spec), phase, streamed=streamed) if sizes else None


def _scheduled(plan: Plan, index: int, course: Course | None, steps: list[int]) -> ScheduledPhase:
    before, stretch = stretch_steps(plan, steps, index)
    phase = plan.phases[index]
    groups = frozenset(group.name for group in plan.groups if group.lr[index] is not None)
    factor = schedule_factor(phase.schedule, max(stretch, 1))
    return ScheduledPhase(index, phase, course, steps[index], before, factor, groups)


def with_lengths(
    phases: tuple[ScheduledPhase, ...], lengths: Mapping[str, Sequence[int] | None]
) -> tuple[ScheduledPhase, ...]:
    """Return phases whose batches hold rows of similar length, of the tasks whose rows have lengths."""
    known = {task: Lengths(rows) for task, rows in lengths.items() if rows is not None}
    return tuple(
        replace(item, course=replace(item.course, lengths=known) if item.course else None) for item in phases
    )


def check_warmups(spec: Spec, plan: Plan, phases: tuple[ScheduledPhase, ...]) -> tuple[Diagnostic, ...]:
    """Warn of each warm-up that fills all the steps its schedule runs over."""
    steps = [item.steps for item in phases]
    found = []
    for item in phases:
        if item.phase.schedule.stretch != item.index:
            continue
        length = stretch_steps(plan, steps, item.index)[1]
        warmup = warmup_steps(item.phase.schedule, length)
        if 0 < length <= warmup:
            found.append(_too_long(spec, plan, item, warmup, length))
    return tuple(found)


def _too_long(spec: Spec, plan: Plan, item: ScheduledPhase, warmup: int, length: int) -> Diagnostic:
    what = (
        "the whole run of"
        if len(plan.phases) == 1
        else f"phase `{item.phase.name}` and those that share its schedule:"
    )
    message = f"the warm-up of {warmup} steps fills {what} {length}: no group reaches its rate"
    at = (*_schedule_table(spec, item.index), "warmup")
    return spec.locations.report(
        at, "FP467", message, help="a fraction such as warmup = 0.06 fits any length"
    )


def _schedule_table(spec: Spec, phase: int) -> KeyPath:
    """Return where the schedule of a phase is written."""
    if spec.gradual is not None and spec.gradual.schedule is not None:
        return ("gradual", "schedule")
    if phase < len(spec.phase) and spec.phase[phase].schedule is not None:
        return ("phase", phase, "schedule")
    return ("schedule",)
