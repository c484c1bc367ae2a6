"""What each candidate will take: the work of its whole run, seconds at this machine's speed, and memory if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from freezeplan.choose.probing import Probed
from freezeplan.cost.estimating import estimate_cost
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.plan.modes import BACKBONE
from freezeplan.plan.records import Phase, Plan
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec

NOT_PREDICTED = "FP480"


@dataclass(frozen=True)
class PredictedWork:
    """Hold what a whole run takes."""

    flops: int
    seconds: float


@dataclass(frozen=True)
class Amounts:
    """Count what runs in an epoch, in tokens (images count one each): of training, and of validation."""

    train: int
    validation: int


def predicted(candidates: Sequence[tuple[Spec, Plan]], found: Probed) -> list[PredictedWork]:
    """Return what each candidate takes, all by one reckoning, so that they can be compared.

    Two FLOPs per token and parameter forward, two backward for each layer above the lowest that trains, and two for
    each parameter that does (Kaplan et al., Scaling Laws for Neural Language Models, 2020,
    https://arxiv.org/abs/2001.08361, section 2.1); what is frozen below them runs once. The speed is that of the
    probe's own pass over the data.
    """
    amounts, cost = _amounts(found), found.report.cost
    forward = 2 * sum(_layers(candidates[0][1]).values()) if candidates else 0
    ran = max(1, forward * (usual_length(found) or 1) * cost.inputs)
    work = [work_of(spec, plan, amounts) for spec, plan in candidates]
    return [PredictedWork(flops, flops * cost.extraction_cpu_seconds / ran) for flops in work]


def predicted_memory(path: Path, length: int | None) -> int:
    """Return the most memory of a training step of a spec, as ``show --cost`` works it out; 0 where it cannot.

    ``length`` is that of its texts.
    """
    spec = load_spec(path)
    try:
        cost = estimate_cost(spec, compile_plan(inventory_for(spec), spec), length=length)
    except DiagnosticError as error:
        if error.diagnostics[0].code != NOT_PREDICTED:
            raise
        return 0
    return max(phase.memory.highest for phase in cost.phases)


def usual_length(found: Probed) -> int | None:
    """Return the mean number of tokens of the training rows, None for images."""
    lengths = [split.lengths for split in found.setup.data["train"].values()]
    known = [float(item.mean()) for item in lengths if item is not None]
    return max(1, round(sum(known) / len(known))) if known else None


def _amounts(found: Probed) -> Amounts:
    data, length = found.setup.data, usual_length(found) or 1
    rows = {
        split: sum(len(item) * item.kind.texts for item in data[split].values())
        for split in ("train", "validation")
    }
    return Amounts(rows["train"] * length, rows["validation"] * length)


def _layers(plan: Plan) -> dict[int, int]:
    """Return the parameters of each layer of the backbone, the lowest first; all of it as one where it has none."""
    own = [param for param in plan.params if param.name.startswith(BACKBONE)]
    found: dict[int, int] = {}
    for param in own:
        if param.layer is not None:
            found[param.layer] = found.get(param.layer, 0) + param.numel
    return dict(sorted(found.items())) or {0: sum(param.numel for param in own)}


def work_of(spec: Spec, plan: Plan, amounts: Amounts) -> int:
    """Return the FLOPs of a whole run."""
    layers, total = _layers(plan), 0
    for index, phase in enumerate(plan.phases):
        if not phase.trainable_numel:
            continue
        stored = phase.frozen_prefix.exists and spec.train.store != "off"
        below = _stored_layers(phase, list(layers)) if stored else set()
        lower = sum(layers[layer] for layer in below)
        upper = sum(layers.values()) - lower
        each = amounts.train * _backward(plan, index, layers)
        each += 2 * upper * (amounts.train + amounts.validation)
        total += phase.length.count * each + 2 * lower * (amounts.train + amounts.validation)
    return total


def _stored_layers(phase: Phase, layers: Sequence[int]) -> set[int]:
    prefix = phase.frozen_prefix
    return set(layers if prefix.whole_backbone else layers[: prefix.layers])


def _backward(plan: Plan, phase: int, layers: dict[int, int]) -> int:
    """Return the FLOPs per token of a backward pass through what trains and what is above it."""
    trained = set(plan.names(phase, trainable=True))
    own = [param for param in plan.params if param.name.startswith(BACKBONE) and param.name in trained]
    if not own:
        return 0
    within = sum(param.numel for param in own if param.layer is not None or len(layers) == 1)
    lowest = min((-1 if param.layer is None else param.layer for param in own), default=-1)
    above = sum(numel for layer, numel in layers.items() if layer >= lowest)
    return 2 * above + 2 * within
