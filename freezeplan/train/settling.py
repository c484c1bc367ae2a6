"""Which layers hardly change any more, by the rule that the plan names, and the phases that follow from it."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from freezeplan.apply.tensors import parameters_by_name
from freezeplan.diagnostics.wording import format_number
from freezeplan.inventory.records import Stack
from freezeplan.plan.records import Plan
from freezeplan.prefix import Refused
from freezeplan.runs.position import Position
from freezeplan.spec.keys import EGERIA
from freezeplan.train.forward import Forward
from freezeplan.train.gradient_norms import GradientNorms, still_by_norms
from freezeplan.train.plasticity import change, similarities, still_by_outputs
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
    tensors = parameters_by_name(setup.model)
    layers = training_layers(setup.plan, position.phase, moving_layers(setup.plan, setup.stacks))
    trained = [[tensors[name] for name in names] for names in layers.values()]
    return GradientNorms(trained, rule.intervals, position.norms)


def note_outputs(setup: Setup, forward: Forward, position: Position) -> None:
    """Note what the layers put out where a phase begins, for a plan that goes by how much that changes."""
    rule = setup.plan.freeze_when
    if rule is not None and rule.rule == EGERIA and not position.outputs:
        position.outputs = _outputs(setup, forward, position)


def note_settled(setup: Setup, forward: Forward, position: Position) -> None:
    """Note after the steps of an epoch which layers have settled in it."""
    rule = setup.plan.freeze_when
    if rule is None:
        return
    if rule.rule == EGERIA:
        after = _outputs(setup, forward, position)
        changes = {path: change(position.outputs[path], values) for path, values in after.items()}
        position.changes.append(setup.ranks.gather(changes)[0])
        position.outputs = after
    found = settled(setup.plan, moving_layers(setup.plan, setup.stacks), position)
    if found is not None:
        position.frontier, position.settled = found.phase, found.reason


def _outputs(setup: Setup, forward: Forward, position: Position) -> dict[str, list[float]]:
    layers = training_layers(setup.plan, position.phase, moving_layers(setup.plan, setup.stacks))
    data = {**setup.data["train"], **setup.streams.samples}
    try:
        return similarities(forward, data, list(layers), setup.spec.train.eval_batch_size)
    except Refused as problem:
        message = f"what the layers put out cannot be compared from epoch to epoch: {problem.detail}"
        advice = 'write rule = "autofreeze", which goes by gradients'
        raise setup.spec.locations.error(("freeze_when",), "FP443", message, help=advice) from None


def settled(plan: Plan, paths: Sequence[str], position: Position) -> Settled | None:
    """Return up to which later phase the layers at some paths have settled, None where the present one goes on."""
    rule, phase = plan.freeze_when, position.phase
    assert rule is not None
    layers = list(training_layers(plan, phase, paths))
    if rule.rule == EGERIA:
        still, share = still_by_outputs(layers, position.changes, rule.tolerance)
        why = f"their outputs changed by at most {100 * share:.0f} % of the most that they have changed by"
    else:
        still, limit = still_by_norms(layers, position.norms, rule.percentile)
        number = format_number(rule.percentile)
        why = f"their gradients changed by less than the {number}th percentile, {100 * limit:.1f} %"
    reached = _reached(plan, phase, paths, still)
    if reached == phase:
        return None
    return Settled(reached, f"{rule.rule} goes on to `{plan.phases[reached].name}`: {why}")


def _reached(plan: Plan, phase: int, paths: Sequence[str], still: Set[str]) -> int:
    for later in range(phase + 1, len(plan.phases)):
        refrozen = plan.phases[later].refrozen
        if not {path for path in paths if _holds(path, refrozen)} <= still:
            return later - 1
    return len(plan.phases) - 1


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
    found = {path: [name for name in trained if _holds(path, [name])] for path in paths}
    return {path: names for path, names in found.items() if names}


def _holds(path: str, names: Sequence[str]) -> bool:
    return any(name.startswith(f"{path}.") for name in names)
