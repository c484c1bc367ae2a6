"""Which layers hardly change any more: the norms of their gradients, added up over the parts of an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise, takewhile

import numpy
import torch

from freezeplan.apply.tensors import parameters_by_name, whole
from freezeplan.diagnostics.wording import format_number
from freezeplan.plan.modes import BACKBONE
from freezeplan.plan.records import FreezeRule, Plan
from freezeplan.runs.position import Position
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


def note_settled(plan: Plan, position: Position) -> None:
    """Note after the steps of an epoch which layers have settled in it."""
    found = settled(plan, position.phase, position.norms) if plan.freeze_when is not None else None
    if found is not None:
        position.frontier, position.settled = found.phase, found.reason


def norms_of(setup: Setup, position: Position) -> GradientNorms | None:
    """Return what adds up gradients' norms in the current phase, None for a plan that does not ask for them."""
    if setup.plan.freeze_when is None:
        return None
    return GradientNorms(setup.plan, setup.model, position.phase, position.norms)


class GradientNorms:
    """Add up the norm of each layer's gradient, step by step, over the intervals of an epoch.

    ``sums`` has a row per interval: the steps that were seen, then the sum of the norms of each layer that trains in
    the phase. It is changed in place, so that it can be part of what a checkpoint holds.
    """

    def __init__(self, plan: Plan, model: torch.nn.Module, phase: int, sums: list[list[float]]) -> None:
        assert plan.freeze_when is not None
        tensors = parameters_by_name(model)
        self.layers = [[tensors[name] for name in names] for names in _by_layer(plan, phase).values()]
        self.sums = sums
        if not sums:
            sums += [[0.0] * (len(self.layers) + 1) for _ in range(plan.freeze_when.intervals)]

    def see(self, step: int, steps: int) -> None:
        """Add the gradients of a step of an epoch of ``steps``, counted from 0."""
        row = self.sums[step * len(self.sums) // steps]
        norms = [whole(torch.nn.utils.get_total_norm(_gradients(layer))) for layer in self.layers]
        row[0] += 1.0
        for place, norm in enumerate(torch.stack(norms).tolist() if norms else (), 1):
            row[place] += norm


def _gradients(layer: Sequence[torch.nn.Parameter]) -> list[torch.Tensor]:
    return [tensor.grad for tensor in layer if tensor.grad is not None] or [torch.zeros(())]


def _by_layer(plan: Plan, phase: int) -> dict[int, list[str]]:
    """Return the tensors of each layer that train in a phase, the lowest layer first."""
    trained, found = set(plan.names(phase, trainable=True)), dict[int, list[str]]()
    has_heads = any(param.name.startswith(BACKBONE) for param in plan.params)
    for param in plan.params:
        ours = param.name.startswith(BACKBONE) or not has_heads
        if ours and param.layer is not None and param.name in trained:
            found.setdefault(param.layer, []).append(param.name)
    return dict(sorted(found.items()))


def settled(plan: Plan, phase: int, sums: Sequence[Sequence[float]]) -> Settled | None:
    """Return up to which later phase the layers have settled in an epoch, None where the present one goes on.

    AutoFreeze (Liu, Agarwal and Venkataraman, AutoFreeze: Automatically Freezing Model Blocks to Accelerate
    Fine-tuning, 2021, https://arxiv.org/abs/2102.01386, and its code): a layer's change is that of the norm of its
    gradient from one interval to the next, as a share of the first; from the bottom, layers have settled as long as
    their change is below a percentile of the changes of all that have not. There a norm is that of the sum of an
    interval's gradients; here the norms of its steps are added up, which takes no copy of the weights.
    """
    assert plan.freeze_when is not None
    numbers, still, limit = list(_by_layer(plan, phase)), set[int](), 0.0
    for before, after in pairwise(sums):
        if before[0] and after[0]:
            changes = dict(zip(numbers, _changes(before, after), strict=True))
            more, found = _still(changes, still, plan.freeze_when)
            still, limit = still | more, found if more else limit
    reached = phase
    for later in range(phase + 1, len(plan.phases)):
        refrozen = set(plan.phases[later].refrozen)
        layers = {param.layer for param in plan.params if param.name in refrozen and param.layer is not None}
        if not layers <= still:
            break
        reached = later
    return Settled(reached, _reason(plan, reached, limit)) if reached > phase else None


def _changes(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """Return how much the mean norm of each layer changes between two intervals, as a share of the first."""
    first, second = (numpy.array(row[1:]) / row[0] for row in (before, after))
    return (numpy.abs(first - second) / numpy.where(first > 0.0, first, 1.0)).tolist()


def _still(changes: Mapping[int, float], known: Set[int], rule: FreezeRule) -> tuple[set[int], float]:
    """Return the layers above those that have settled before whose change is small too, and what that means."""
    left = {layer: change for layer, change in changes.items() if layer not in known}
    limit = float(numpy.percentile(list(left.values()), rule.percentile)) if left else 0.0
    return set(takewhile(lambda layer: left[layer] < limit, left)), limit


def _reason(plan: Plan, phase: int, limit: float) -> str:
    rule = plan.freeze_when
    assert rule is not None
    name = plan.phases[phase].name
    share = f"{format_number(rule.percentile)}th percentile, {100 * limit:.1f} %"
    return f"{rule.rule} goes on to `{name}`: their gradients changed by less than the {share}"
