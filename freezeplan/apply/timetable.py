"""Where a run over a plan's phases stands: a pure function of the steps taken and the metrics measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from freezeplan.apply.ending import reason_to_end
from freezeplan.apply.schedules import Factor, schedule_factor, stretch_steps
from freezeplan.plan.records import Length, Plan

# What was measured, by metric (``task/name``) and by the number of steps taken before.
Measured = Mapping[str, Mapping[int, float]]
NOTHING: Measured = {}


@dataclass(frozen=True)
class NextStep:
    """Say in which phase a run's next step lies, and how many steps of the phase come before it."""

    phase: int
    step: int


@dataclass(frozen=True)
class Timetable:
    """Lay a plan's phases out over optimizer steps, counted from 0 over the whole run.

    ``steps_per_epoch`` is None where the data have no length; then every phase must be one of steps. ``host_steps``
    is the number of steps that a host takes: a run whose spec writes no length is as long.
    """

    plan: Plan
    steps_per_epoch: int | None
    host_steps: int | None = None

    @cached_property
    def phase_steps(self) -> tuple[int, ...]:
        """The steps of each phase; of one that a metric ends, the most it can have; of one that trains nothing, 0."""
        return tuple(
            self._most_steps(phase.length) if phase.trainable_numel else 0 for phase in self.plan.phases
        )

    def _most_steps(self, length: Length) -> int:
        if length.by_default and self.host_steps is not None:
            return self.host_steps
        return length.count * (1 if length.unit == "steps" else self.steps_per_epoch or 0)

    @property
    def steps(self) -> int:
        """The steps of the whole run, at most."""
        return sum(self.phase_steps)

    def place(self, step: int, measured: Measured = NOTHING) -> NextStep | None:
        """Return where the step after ``step`` others lies, None when the run is over before it."""
        begin = 0
        for phase in range(len(self.plan.phases)):
            end = self._end(phase, begin, measured)
            if self._stops(phase, begin, min(step, end), measured):
                return None
            if step < end:
                return NextStep(phase, step - begin)
            begin = end
        return None

    def _end(self, phase: int, begin: int, measured: Measured) -> int:
        """Return the number of the run's steps after which a phase that began so late is over."""
        length, most = self.plan.phases[phase].length, begin + self.phase_steps[phase]
        values = measured.get(length.metric or "", {})
        seen: list[float] = []
        for end in range(begin + (self.steps_per_epoch or most), most + 1, self.steps_per_epoch or most):
            if length.unit != "until" or end not in values:
                break
            seen.append(values[end])
            if reason_to_end(length, seen):
                return end
        return most

    def _stops(self, phase: int, begin: int, until: int, measured: Measured) -> bool:
        """Whether ``stop_when`` was reached at an end of an epoch of a phase, after ``until`` steps at most."""
        stop = self.plan.stop_when
        if stop is None:
            return False
        ends = [step for step in measured.get(stop.metric, {}) if begin < step <= until]
        return any(
            measured[stop.metric][step] >= stop.at_least
            for step in ends
            if self._is_epoch_end(phase, step - begin)
        )

    def measured_ends(self, step: int, measured: Measured = NOTHING) -> tuple[int, ...]:
        """Return the ends of epochs, up to ``step``, of the phase that step lies in, where its metric was measured."""
        last = self.place(step - 1, measured) if step else None
        if last is None:
            return ()
        begin, metric = step - 1 - last.step, self.plan.phases[last.phase].length.metric
        ends = (end for end in sorted(measured.get(metric or "", {})) if begin < end <= step)
        return tuple(end for end in ends if self._is_epoch_end(last.phase, end - begin))

    def stopped(self, step: int, measured: Measured = NOTHING) -> bool:
        """Whether ``stop_when`` ends the run after ``step`` steps, and not its length."""
        last = self.place(step - 1, measured) if step else None
        return last is not None and self._stops(last.phase, step - 1 - last.step, step, measured)

    def _is_epoch_end(self, phase: int, steps: int) -> bool:
        """Whether a phase has ended an epoch, or itself, after so many of its steps."""
        epoch = self.steps_per_epoch
        return steps == self.phase_steps[phase] or (epoch is not None and steps % epoch == 0)

    def to_enter(self, place: NextStep) -> range:
        """Return the phases to enter before the step at a place: its own, after those before it without a step."""
        first = place.phase
        while place.step == 0 and first and self.phase_steps[first - 1] == 0:
            first -= 1
        return range(first, place.phase + 1)

    def to_measure(self, step: int, measured: Measured = NOTHING) -> tuple[str, ...]:
        """Return the metrics that decide how the run goes on after its first ``step`` steps."""
        last = self.place(step - 1, measured)
        if last is None:
            return ()
        if not self._is_epoch_end(last.phase, last.step + 1):
            return ()
        stop = self.plan.stop_when
        wanted = [self.plan.phases[last.phase].length.metric, stop.metric if stop else None]
        return tuple(dict.fromkeys(metric for metric in wanted if metric))

    def factor(self, place: NextStep) -> float:
        """Return the schedule's factor on every rate for the step at a place."""
        before, _ = stretch_steps(self.plan, self.phase_steps, place.phase)
        return self._factors[place.phase](before + place.step)

    @cached_property
    def _factors(self) -> Sequence[Factor]:
        return [
            schedule_factor(phase.schedule, max(1, stretch_steps(self.plan, self.phase_steps, index)[1]))
            for index, phase in enumerate(self.plan.phases)
        ]
