"""The run in time: the phases of a spec, with their rules, lengths and schedules, before matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from freezeplan.plan.records import WHOLE_RUN, Length, PhaseSchedule
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.tables import PhaseScheduleTable, PhaseTable, Rule, ScheduleTable, Spec, Until

SLANTED = "slanted_triangular"
SLANTED_DEFAULTS = {"cut_frac": 0.1, "ratio": 32.0}
"""Howard and Ruder, Universal Language Model Fine-tuning for Text Classification, 2018 (section 3.2),
https://arxiv.org/abs/1801.06146."""


@dataclass(frozen=True)
class PhaseRule:
    """A rule with the key path where it is written; ``mask`` is set where no pattern has to be matched."""

    rule: Rule
    path: KeyPath
    mask: int | None = None


@dataclass(frozen=True)
class Stage:
    """One phase as it is written: what it adds to the rules before it, and how long it lasts."""

    name: str
    path: KeyPath
    length: Length
    rules: tuple[PhaseRule, ...] = ()
    schedule: PhaseScheduleTable | None = None
    on_thaw: str = "reset"


def whole_run(spec: Spec) -> tuple[Stage, ...]:
    """Return the one phase of a spec that has none."""
    train = spec.train
    length = Length(
        "epochs",
        train.epochs,
        train.restore_best,
        restore_best=train.restore_best is not None,
        by_default="epochs" not in train.model_fields_set,
    )
    return (Stage(WHOLE_RUN, (), length),)


def written_phases(spec: Spec) -> tuple[Stage, ...]:
    """Return the phases as they are written in the spec."""
    names = phase_names(spec.phase)
    return tuple(
        Stage(
            name,
            ("phase", index),
            length_of(phase.epochs, phase.steps, phase.until),
            tuple(PhaseRule(rule, ("phase", index, "rule", at)) for at, rule in enumerate(phase.rule)),
            phase.schedule,
            phase.on_thaw,
        )
        for index, (phase, name) in enumerate(zip(spec.phase, names, strict=True))
    )


def phase_names(phases: Sequence[PhaseTable]) -> list[str]:
    """Return one name per phase: its own, or its number.

    >>> phase_names([PhaseTable(epochs=1), PhaseTable(name="top", epochs=1)])
    ['phase 1', 'top']
    """
    return [phase.name or f"phase {number}" for number, phase in enumerate(phases, 1)]


def length_of(epochs: int | None, steps: int | None, until: Until | None) -> Length:
    """Return the length that one of three keys gives."""
    if until is not None:
        return Length(
            "until",
            until.max_epochs,
            until.metric,
            until.target,
            until.patience,
            until.restore_best,
            mode=until.mode,
        )
    return Length("steps", steps) if steps is not None else Length("epochs", epochs or 1)


def lay_schedules(spec: Spec, stages: Sequence[Stage]) -> tuple[PhaseSchedule, ...]:
    """Return the schedule of each phase.

    One runs until a phase starts another: by a ``schedule`` of its own, or around a phase whose length
    depends on a metric, which has one to itself.
    """
    found: list[PhaseSchedule] = []
    for index, stage in enumerate(stages):
        alone = stage.length.unit == "until" or (index and stages[index - 1].length.unit == "until")
        if index == 0 or alone or stage.schedule is not None:
            found.append(_schedule(spec.schedule, stage.schedule, index))
        else:
            found.append(found[-1])
    return tuple(found)


def _schedule(base: ScheduleTable, own: PhaseScheduleTable | None, stretch: int) -> PhaseSchedule:
    written = own.model_dump(exclude_none=True) if own else {}
    # What belongs to another schedule is not carried over to a phase that chooses one of its own.
    inherited = base.model_dump(exclude_none=True) if written.get("name", base.name) == base.name else {}
    keys = {"name": base.name, "warmup": 0, **inherited, **written}
    options = {key: keys.get(key, default) for key, default in SLANTED_DEFAULTS.items()}
    chosen = tuple(sorted(options.items())) if keys["name"] == SLANTED else ()
    return PhaseSchedule(keys["name"], keys["warmup"], chosen, stretch)
