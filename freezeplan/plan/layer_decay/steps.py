"""The factor that a rule's `layer_decay` gives to each parameter, by where it stands on its stack's ladder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from freezeplan.inventory.records import ParamInfo
from freezeplan.plan.binding import BoundRule
from freezeplan.plan.layer_decay.formulas import (
    DINOV2_PATCH_EMBED,
    FORMULAS,
    ULMFIT_RATE,
    Ladder,
    rung_label,
    rung_of_final_norm,
)
from freezeplan.plan.layer_decay.standing import ABOVE, REST, Standing, rungs_of, standings
from freezeplan.plan.rates import ONE, exact, product
from freezeplan.plan.tree import NameTree
from freezeplan.spec.tables import LayerDecay


@dataclass(frozen=True)
class Step:
    """One rung as a rule sees it: the factor on the learning rate, and the rung's name."""

    factor: Decimal
    label: str


def decay_steps(tree: NameTree, rules: Sequence[BoundRule], winners: Sequence[int]) -> list[Step | None]:
    """Return each name's step under the rule that decides its ``layer_decay``, in tree order.

    ``winners`` holds the deciding rule's index or -1. There is no step (None) where no rule decides, and
    where the depth is not defined: an embedding below several stacks of different lengths, or a stack that
    is not in stages where stages are the unit.
    """
    if all(index < 0 for index in winners):
        return [None] * len(winners)
    has_head = bool(tree.inventory.role_nodes.get("heads"))
    decays = {index: rules[index].rule.layer_decay for index in set(winners) if index >= 0}
    placed = {decay.unit: standings(tree.inventory, decay.unit) for decay in decays.values() if decay}
    names = [tree.inventory.params[index] for index in tree.order]
    return [
        _step(decay, placed[decay.unit][info.alias_of or info.name], info, has_head)
        if (decay := decays.get(index))
        else None
        for index, info in zip(winners, names, strict=True)
    ]


def _step(decay: LayerDecay, standing: Standing, info: ParamInfo, has_head: bool) -> Step | None:
    rate = exact(decay.rate) if decay.rate is not None else ULMFIT_RATE
    formula = FORMULAS[decay.formula]
    if standing.rung == ABOVE:
        ladder = Ladder(0, has_head)
        rung = rung_of_final_norm(decay.formula, ladder) if standing.role == "final_norm" else ladder.rest
        factor, label = formula(ladder, rung, rate), REST if rung == ladder.rest else "final norm"
    elif standing.stack is None or not rungs_of(standing.stack, decay.unit):
        return None
    else:
        ladder = Ladder(rungs_of(standing.stack, decay.unit), has_head, decay.unit)
        factor, label = formula(ladder, standing.rung, rate), rung_label(ladder, standing.rung)
    if standing.role == "embeddings" and _is_patch_embedding(info):
        factor, label = product(factor, _of_patches(decay)), "patch embedding"
    return Step(max(factor, exact(decay.min_mult)), label)


def _of_patches(decay: LayerDecay) -> Decimal:
    if decay.patch_embed_mult is not None:
        return exact(decay.patch_embed_mult)
    return DINOV2_PATCH_EMBED if decay.formula == "dinov2" else ONE


def _is_patch_embedding(info: ParamInfo) -> bool:
    return any(part.startswith("patch_embed") for part in info.name.split("."))
