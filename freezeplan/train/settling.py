"""Which layers hardly change any more, by the rule that the plan names, and the phases that follow from it."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import partial

from freezeplan.apply.tensors import parameters_by_name
from freezeplan.diagnostics.wording import counted, format_number
from freezeplan.inventory.records import Stack
from freezeplan.inventory.structure import is_under
from freezeplan.plan.records import Plan
from freezeplan.prefix import Refused
from freezeplan.runs.position import Position
from freezeplan.spec.keys import EGERIA
from freezeplan.train.forward import Forward
from freezeplan.train.gradient_norms import GradientNorms, still_by_norms
from freezeplan.train.plasticity import OutputLooks, similarities, still_by_outputs
from freezeplan.train.scheduling import ScheduledPhase
from freezeplan.train.setup import Setup


@dataclass(frozen=True)
class Settled:
    """Say up to which phase the layers have settled, and why, in words."""

    phase: int
    reason: str


def current_phase(setup: Setup, position: Position) -> ScheduledPhase:
    """Return the phase in which a run stands; one that the run itself began is laid out over what is left of it."""
    phase = setup.phases[position.phase]
    return phase if setup.plan.freeze_when is None else phase.after(position.step - position.phase_step)


def is_last_phase(setup: Setup, position: Position) -> bool:
    """Whether no phase comes after the current one, or no step is left for it."""
    through = setup.plan.freeze_when is not None and position.step >= setup.steps
    return through or position.phase + 1 == len(setup.phases)


def is_passed(position: Position) -> bool:
    """Whether the current phase is over before its first step: more than what it freezes has settled."""
    return position.phase_step == 0 and position.frontier > position.phase


def norms_of(setup: Setup, position: Position) -> GradientNorms | None:
    """Return what adds up gradients' norms in the current phase, None for a plan that does not ask for them."""
    rule = setup.plan.freeze_when
    if rule is None or rule.rule == EGERIA:
        return None
    _refuse_short_epochs(setup, rule.intervals)
    tensors = parameters_by_name(setup.model)
    layers = training_layers(setup.plan, position.phase, moving_layers(setup.plan, setup.stacks))
    trained = [[tensors[name] for name in names] for names in layers.values()]
    return GradientNorms(trained, rule.intervals, position)


def _refuse_short_epochs(setup: Setup, intervals: int) -> None:
    """Refuse epochs of so few steps that no interval with one has one with another beside it."""
    course = setup.phases[0].course
    if course is None or intervals < 2 * course.steps_per_epoch:
        return
    steps = course.steps_per_epoch
    message = f"an epoch of {counted(steps, 'step')} has no {intervals} intervals: no layer could ever settle"
    advice = f"write intervals = {steps}" if steps > 1 else "take smaller batches"
    raise setup.spec.locations.error(
        ("freeze_when",), "FP219", message, help=f"{advice}, or remove the table"
    )


def looks_of(setup: Setup, forward: Forward, position: Position) -> OutputLooks | None:
    """Return what looks at layers' outputs in the current phase, None for a plan that does not go by them."""
    rule = setup.plan.freeze_when
    if rule is None or rule.rule != EGERIA or is_last_phase(setup, position):
        return None
    layers = training_layers(setup.plan, position.phase, moving_layers(setup.plan, setup.stacks))
    look = partial(_outputs, setup, forward, list(layers))
    return OutputLooks(look, rule.intervals, position, setup.steps, setup.ranks)


def note_settled(setup: Setup, forward: Forward, position: Position) -> None:
    """Note after the steps of an epoch which layers have settled in it, where another one follows."""
    if setup.plan.freeze_when is None or position.step >= setup.steps:
        return
    found = settled(setup.plan, moving_layers(setup.plan, setup.stacks), position)
    if found is not None and (forward.store is None or _pays(setup, position, found.phase)):
        position.frontier, position.settled = found.phase, found.reason


def _pays(setup: Setup, position: Position, later: int) -> bool:
    """Whether going on to a later phase saves more than it takes to store what is frozen there."""
    phases, course = setup.plan.phases, setup.phases[position.phase].course
    assert course is not None
    epochs = (setup.steps - position.step) / course.steps_per_epoch
    train, validation = (sum(map(len, setup.data[split].values())) for split in ("train", "validation"))
    below, above = (phases[place].frozen_prefix.layers for place in (position.phase, later))
    return saves_work(epochs, train, validation, below, above)


def saves_work(epochs: float, train: int, validation: int, below: int, above: int) -> bool:
    """Whether it saves work to store rows anew after ``above`` layers where they are stored after ``below`` of them.

    A training row takes a layer three times as much as a row that only runs forward: its backward pass is two more.

    >>> saves_work(3.0, 500, 100, 2, 4), saves_work(1.0, 500, 100, 4, 5)
    (True, False)
    """
    return epochs * (3 * train + validation) * (above - below) > (train + validation) * above


def _outputs(setup: Setup, forward: Forward, layers: Sequence[str]) -> dict[str, list[float]]:
    data = {**setup.data["train"], **setup.streams.samples}
    try:
        found = similarities(forward, data, layers, setup.spec.train.eval_batch_size)
    except Refused as problem:
        message = f"what the layers put out cannot be compared from epoch to epoch: {problem.detail}"
        advice = 'write rule = "autofreeze", which goes by gradients'
        raise setup.spec.locations.error(("freeze_when",), "FP443", message, help=advice) from None
    idle = next((path for path, values in found.items() if not values), None)
    if idle is not None:
        message = f"what `{idle}` puts out cannot be compared: it does not run for the tasks of this spec"
        advice = "name the stack that runs in `over`"
        raise setup.spec.locations.error(("freeze_when", "over"), "FP443", message, help=advice)
    return found


def settled(plan: Plan, paths: Sequence[str], position: Position) -> Settled | None:
    """Return up to which later phase the layers at some paths have settled, None where the present one goes on."""
    rule, phase = plan.freeze_when, position.phase
    assert rule is not None
    layers = list(training_layers(plan, phase, paths))
    if rule.rule == EGERIA:
        still, share = still_by_outputs(layers, position.changes, rule.tolerance, rule.intervals)
        why = f"their outputs changed by at most {100 * share:.0f} % of the most that they have changed by"
    else:
        still, limit = still_by_norms(layers, position.norms, rule.percentile)
        number = format_number(rule.percentile)
        why = f"their gradients changed by less than the {number}th percentile, {100 * limit:.1f} %"
    reached = _reached(plan, phase, paths, still)
    if rule.rule == EGERIA:
        reached = min(reached, halfway(phase, len(plan.phases) - 1))
    if reached == phase:
        return None
    return Settled(reached, f"{rule.rule} goes on to `{plan.phases[reached].name}`: {why}")


def _reached(plan: Plan, phase: int, paths: Sequence[str], still: Set[str]) -> int:
    for later in range(phase + 1, len(plan.phases)):
        refrozen = plan.phases[later].refrozen
        if not {path for path in paths if _holds(path, refrozen)} <= still:
            return later - 1
    return len(plan.phases) - 1


def halfway(phase: int, last: int) -> int:
    """Return the furthest phase that a run may go on to at once: half of what is left, rounded up.

    Egeria freezes one module and then looks at the next: the layers above have to settle on what no longer moves.

    >>> [halfway(phase, 5) for phase in (0, 3, 4)]
    [3, 4, 5]
    """
    return phase + (last - phase + 1) // 2


def moving_layers(plan: Plan, stacks: Sequence[Stack]) -> tuple[str, ...]:
    """Return the paths of the layers of the stack that freezes from the bottom, its top layer at the end."""
    frozen = [name for phase in plan.phases[1:] for name in phase.refrozen]
    last = plan.names(len(plan.phases) - 1, trainable=True)
    found = [stack for stack in stacks if any(_holds(path, frozen) for path in stack.layers)]
    # What feeds the stack, whole other stacks among it, freezes with the first layer: their tops do not train.
    return max(found, key=lambda stack: _holds(stack.layers[-1], last)).layers if found else ()


def training_layers(plan: Plan, phase: int, paths: Sequence[str]) -> dict[str, list[str]]:
    """Return the tensors of each layer that train in a phase, of layers that have any, the lowest first."""
    trained = plan.names(phase, trainable=True)
    found = {path: [name for name in trained if is_under(name, path)] for path in paths}
    return {path: names for path, names in found.items() if names}


def _holds(path: str, names: Sequence[str]) -> bool:
    return any(is_under(name, path) for name in names)
