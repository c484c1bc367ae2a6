"""Whether storing a frozen prefix saves work: how often its inputs run, against the one pass that stores them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from freezeplan.prefix import Cut
from freezeplan.train.scheduling import ScheduledPhase

WORTH = 1.5
"""Passes over the inputs from which a store is built: building it takes one, finding and proving the cut a little
more, and reading entries is not free."""


@dataclass(frozen=True)
class Pass:
    """Name the phases that one pass over the inputs serves, and how many passes over them it saves."""

    phases: tuple[int, ...]
    saved: float

    @property
    def pays(self) -> bool:
        """Whether it saves clearly more than it takes."""
        return self.saved >= WORTH


def rows_run(item: ScheduledPhase, validation: int) -> float:
    """Return how many rows a phase runs at most, in training and in evaluations of ``validation`` rows each."""
    if item.course is None:
        return 0.0
    course = item.course
    taken = course.taken(item.steps)
    trained = sum(
        (taken[name] - course.offsets.get(name, 0)) * size / ceil(size / course.train.batch_size)
        for name, size in course.sizes.items()
    )
    return trained + item.epochs * validation


def pass_for(
    phase: int,
    cuts: Mapping[int, Cut],
    trained: Sequence[Collection[str]],
    rows: Mapping[int, float],
    inputs: int,
    layers: int,
) -> Pass:
    """Return the pass that stores what a phase replays, judged over all phases that share it.

    ``cuts`` and ``rows`` (what :func:`rows_run` returns) are by phase, for the phases that have a cut; ``trained``
    holds the tensors that each phase trains, ``inputs`` counts the distinct inputs, ``layers`` the layers below a
    cut above all of them. The answer is the same at every phase of a pass: a run that is resumed decides alike.
    """
    first = _first_phase(phase, cuts, trained)
    served = tuple(item for item in sorted(cuts) if _first_phase(item, cuts, trained) == first)
    depth = {item: layers if cuts[item].whole else cuts[item].k for item in served}
    saved = sum(depth[item] * rows[item] for item in served)
    return Pass(served, saved / (max(depth.values()) * inputs))


def _first_phase(phase: int, cuts: Mapping[int, Cut], trained: Sequence[Collection[str]]) -> int:
    """Return the first phase from which on nothing below a phase's cut trains."""
    below = set(cuts[phase].depends_on)
    first = phase
    for earlier in range(phase - 1, -1, -1):
        if below.intersection(trained[earlier]):
            break
        first = earlier if earlier in cuts else first
    return first
