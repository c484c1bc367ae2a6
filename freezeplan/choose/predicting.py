"""What each candidate will take: the work of its whole run, seconds at this machine's speed, and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from freezeplan.choose.probing import Probed
from freezeplan.cost.estimating import estimate_cost
from freezeplan.cost.records import Cost
from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.records import Plan
from freezeplan.spec.tables import Spec

NOT_PREDICTED = "FP480"


@dataclass(frozen=True)
class PredictedWork:
    """Hold what a whole run takes; ``peak_bytes`` is 0 where it is not known."""

    flops: int
    seconds: float
    peak_bytes: int


def predicted(candidates: Sequence[tuple[Spec, Plan]], found: Probed) -> list[PredictedWork]:
    """Return what each candidate takes, all by one reckoning, so that they can be compared.

    That is what ``show --cost`` works out, for texts of the usual length. Where it cannot be had of some candidate, all
    are reckoned by their parameters: two FLOPs per token and parameter forward, four per trained one backward (Kaplan
    et al., Scaling Laws for Neural Language Models, 2020, https://arxiv.org/abs/2001.08361, section 2.1). The speed is
    that of the probe's own pass over the data.
    """
    length = _usual_length(found)
    costs = [_cost(spec, plan, length) for spec, plan in candidates]
    known = [cost for cost in costs if cost is not None]
    if len(known) == len(costs):
        pairs = zip(known, candidates, strict=True)
        return [_by_cost(cost, plan, found) for cost, (_, plan) in pairs]
    return [_by_parameters(plan, length or 1, found) for _, plan in candidates]


def _cost(spec: Spec, plan: Plan, length: int | None) -> Cost | None:
    try:
        return estimate_cost(spec, plan, length=length)
    except DiagnosticError as error:
        if error.diagnostics[0].code != NOT_PREDICTED:
            raise
        return None


def _usual_length(found: Probed) -> int | None:
    """Return the mean number of tokens of the training rows, None for images."""
    lengths = [split.lengths for split in found.setup.data["train"].values()]
    if not lengths or lengths[0] is None:
        return None
    return max(1, round(sum(float(item.mean()) for item in lengths) / len(lengths)))


def _by_cost(cost: Cost, plan: Plan, found: Probed) -> PredictedWork:
    flops = 0
    for phase, planned in zip(cost.phases, plan.phases, strict=True):
        epochs = planned.length.count if phase.learning else 0
        each = phase.store.epoch if phase.store else phase.epoch
        flops += epochs * each + (phase.store.build if phase.store and epochs else 0)
    last = cost.phases[-1]
    per_row = last.step.forward / (cost.batch_size * max(1, len(last.learning)))
    return PredictedWork(
        flops, _seconds(flops, per_row, found), max(phase.memory.highest for phase in cost.phases)
    )


def _by_parameters(plan: Plan, length: int, found: Probed) -> PredictedWork:
    rows = sum(len(split) for split in found.setup.data["train"].values())
    numel = sum(param.numel for param in plan.params)
    flops = 0
    for phase in plan.phases:
        each = 2 * numel + 4 * phase.trainable_numel if phase.trainable_numel else 0
        flops += phase.length.count * rows * length * each
    return PredictedWork(flops, _seconds(flops, 2 * numel * length, found), 0)


def _seconds(flops: int, per_row: float, found: Probed) -> float:
    """Return how long some work takes at the speed of the probe's pass, which ran each input forward once."""
    cost = found.report.cost
    return flops * cost.extraction_cpu_seconds / max(per_row * cost.inputs, 1.0)
