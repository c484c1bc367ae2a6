"""Whether storing a frozen prefix saves work: how often its inputs run, against the one pass that stores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from freezeplan.plan.learning import learning_tasks
from freezeplan.plan.records import FrozenPrefix, Plan
from freezeplan.plan.stepping import step_count
from freezeplan.spec.streams import rows_per_pass
from freezeplan.spec.tables import Spec

WORTH = 1.5
"""Passes over the inputs from which a store is built: building it takes one, finding and proving the cut a little
more, and reading entries is not free."""
TOO_FEW = "its inputs run too few times"
OFF = 'train.store = "off"'
STREAMED = "training rows are streamed, no inputs come again"
NOTHING_TRAINS = "nothing trains, each input runs once"
NOTHING_FROZEN = "nothing is frozen below the first trainable tensor"


@dataclass(frozen=True)
class StoreRows:
    """Count what runs through the backbone: texts, or images.

    ``train`` counts the rows of each task that may train, ``texts`` how many texts each of its rows has that run by
    themselves; ``validation`` those of one evaluation, and ``different`` the different ones of them all.
    """

    train: Mapping[str, int]
    validation: int
    different: int
    texts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StoreUse:
    """Say what a phase could leave out by storing, and how many texts it runs at most; 0 where nothing trains.

    ``prefix`` is None where there is nothing to store.
    """

    prefix: FrozenPrefix | None
    rows: float


@dataclass(frozen=True)
class Pass:
    """Name the phases that one pass over the inputs serves, and how many passes over them it saves."""

    phases: tuple[int, ...]
    saved: float

    @property
    def pays(self) -> bool:
        """Whether it saves clearly more than it takes."""
        return self.saved >= WORTH

    @property
    def shortage(self) -> str:
        """What is short where it does not pay, with the numbers."""
        return f"{self.saved:.1f} times, and it pays from {WORTH} on"


def pass_for(phase: int, uses: Sequence[StoreUse], different: int) -> Pass:
    """Return the pass that stores what a phase replays, judged over all phases that share it.

    ``uses`` are by phase; ``different`` counts the inputs to store. The answer is the same at every phase of a
    pass: a run that is resumed decides alike.
    """
    first = _first_phase(phase, uses)
    stored = [index for index, use in enumerate(uses) if use.prefix is not None and use.rows]
    served = tuple(index for index in stored if _first_phase(index, uses) == first)
    saved = sum(uses[index].prefix.depth * uses[index].rows for index in served)
    return Pass(served, saved / (max(uses[index].prefix.depth for index in served) * max(different, 1)))


def _first_phase(phase: int, uses: Sequence[StoreUse]) -> int:
    """Return the first phase from which on nothing in a phase's prefix trains."""
    first = phase
    for earlier in range(phase - 1, -1, -1):
        use = uses[earlier]
        if not use.rows:
            continue
        if use.prefix is None or not use.prefix.contains(uses[phase].prefix):
            break
        first = earlier
    return first


def rows_run(spec: Spec, plan: Plan, phase: int, rows: StoreRows) -> float:
    """Return how many texts a phase runs at most, in training and in the evaluation after each of its epochs."""
    learning = learning_tasks(spec, plan, phase)
    if not learning:
        return 0.0
    count = step_count(spec, rows.train, learning, phase)
    steps = count.steps(plan.phases[phase].length)
    taken = count.rows_of(count.batches(steps))
    trained = sum(number * rows.texts.get(task, 1) for task, number in taken.items())
    return trained + ceil(steps / count.steps_per_epoch) * rows.validation


def planned_uses(spec: Spec, plan: Plan, rows: StoreRows) -> tuple[StoreUse, ...]:
    """Return what each phase could store by the plan alone."""
    return tuple(
        StoreUse(item.frozen_prefix if item.frozen_prefix.exists else None, rows_run(spec, plan, index, rows))
        for index, item in enumerate(plan.phases)
    )


def store_statements(spec: Spec, plan: Plan, rows: StoreRows | None) -> tuple[str, ...]:
    """Say of each phase how its frozen prefix will run, as the log of the run says it.

    ``rows`` is None where they cannot be counted. What only the live model can tell (blocks that are shared, a
    file that does not fit on the disk) is not known here.
    """
    uses = planned_uses(spec, plan, rows) if rows is not None else None
    return tuple(_statement(spec, plan, index, uses, rows) for index in range(len(plan.phases)))


def _statement(
    spec: Spec, plan: Plan, phase: int, uses: Sequence[StoreUse] | None, rows: StoreRows | None
) -> str:
    store, prefix = spec.train.store, plan.phases[phase].frozen_prefix
    if not plan.phases[phase].trainable_numel:
        return f"no store: {NOTHING_TRAINS}"
    if not prefix.exists:
        return f"no store: {NOTHING_FROZEN}"
    if store == "off":
        return f"no store: {OFF}"
    if rows_per_pass(spec):
        return f"no store: {STREAMED}"
    if store == "require":
        return prefix.statement
    if uses is None or rows is None:
        return f"{prefix.statement}, if its inputs run {WORTH} times or more"
    found = pass_for(phase, uses, rows.different)
    return prefix.statement if found.pays else f"no store: {TOO_FEW} ({found.shortage})"
