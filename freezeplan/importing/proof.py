"""Whether the plan of an imported spec does what the config does, tensor by tensor and phase by phase."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isclose

from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.reading import Reading, Treatment
from freezeplan.plan.exemptions import PUBLISHED
from freezeplan.plan.records import Assignment, Plan

# What the peers multiply in binary is worked out in decimals here: the last digits may differ.
ROUNDING = 1e-12


@dataclass(frozen=True)
class TensorNumbers:
    """What a config does with one tensor, in numbers; a frozen one has none."""

    trained: bool
    lr: float | None = None
    weight_decay: float | None = None


def wanted(reading: Reading, model: ModelNames, base_rate: float) -> list[dict[str, TensorNumbers]]:
    """Return what a reading does with each tensor, by the model's own names, phase by phase."""
    masked = set(PUBLISHED[reading.no_decay](model.inventory)) if reading.no_decay else set()
    found = []
    for phase in reading.phases:
        pairs = ((name.removeprefix(model.prefix), what) for name, (what, _) in phase.outcome.items())
        found.append({name: _numbers(what, reading, base_rate, name in masked) for name, what in pairs})
    return found


def _numbers(what: Treatment, reading: Reading, base_rate: float, masked: bool) -> TensorNumbers:
    if not what.trained:
        return TensorNumbers(False)
    factor = 1.0 if what.lr_mult is None else what.lr_mult
    decay = reading.base_decay * (1.0 if what.weight_decay_mult is None else what.weight_decay_mult)
    decay = decay if what.weight_decay is None else what.weight_decay
    return TensorNumbers(True, base_rate * factor if what.lr is None else what.lr, 0.0 if masked else decay)


def differences(plan: Plan, phases: list[dict[str, TensorNumbers]]) -> Iterator[str]:
    """Say where a plan does something else than is wanted; nothing is said where the two are equal."""
    if len(plan.phases) != len(phases):
        yield f"{len(plan.phases)} phases in place of {len(phases)}"
        return
    for phase, expected in zip(plan.phases, phases, strict=True):
        for param, what in zip(plan.params, phase.assignments, strict=True):
            if not _same(what, expected[param.name]):
                yield f"`{param.name}` in {phase.name}: {_words(what)} in place of {expected[param.name]}"


def _same(what: Assignment, expected: TensorNumbers) -> bool:
    if not (what.trainable and expected.trained):
        return what.trainable == expected.trained
    pairs = ((what.lr, expected.lr), (what.weight_decay, expected.weight_decay))
    return all(b is not None and isclose(a, b, rel_tol=ROUNDING, abs_tol=0.0) for a, b in pairs)


def _words(what: Assignment) -> str:
    return f"{what.state}, rate {what.lr}, weight decay {what.weight_decay}"
