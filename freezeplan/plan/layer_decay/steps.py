"""The factor that a rule's `layer_decay` gives to each parameter, by where it stands on its stack's ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class Top:
    """What is at the top of a model: whether anything stands above its layers, and its own uppermost group."""

    has_rest: bool
    group: int


def decay_steps(tree: NameTree, rules: Sequence[BoundRule], winners: Sequence[int]) -> list[Step | None]:
    """Return each name's step under the rule that decides its ``layer_decay``, in tree order.

    ``winners`` holds the deciding rule's index or -1. There is no step (None) where no rule decides, and
    where the depth is not defined: an embedding below several stacks of different lengths, or a stack that
    is not in stages where stages are the unit. Under ``timm``'s formula the groups that a model makes itself are the
    rungs, where it makes some.
    """
    if all(index < 0 for index in winners):
        return [None] * len(winners)
    decays = {index: rules[index].rule.layer_decay for index in set(winners) if index >= 0}
    placed = {decay.unit: standings(tree.inventory, decay.unit) for decay in decays.values() if decay}
    tops = {unit: _top(tree, found) for unit, found in placed.items()}
    names = [tree.inventory.params[index] for index in tree.order]
    return [
        _step(decay, placed[decay.unit][info.alias_of or info.name], info, tops[decay.unit])
        if (decay := decays.get(index))
        else None
        for index, info in zip(winners, names, strict=True)
    ]


def counts_groups(decay: LayerDecay) -> bool:
    """Tell whether a decay counts the groups that a model of timm's makes itself, where it makes some."""
    return decay.formula == "timm" and decay.unit == "layers"


def _top(tree: NameTree, placed: Mapping[str, Standing]) -> Top:
    heads = tree.inventory.role_nodes.get("heads")
    rungs = (info.rung for info in tree.inventory.params if info.rung is not None)
    return Top(bool(heads) or any(item.role == REST for item in placed.values()), max(rungs, default=0))


def _step(decay: LayerDecay, standing: Standing, info: ParamInfo, top: Top) -> Step | None:
    found = _by_groups(decay, info, top) if counts_groups(decay) else None
    found = found or _by_stack(decay, standing, top.has_rest)
    if found is None:
        return None
    factor, label = found
    if standing.role == "embeddings" and _is_patch_embedding(info):
        more = _of_patches(decay)
        factor, label = (
            product(factor, more),
            label if info.rung is not None and more == ONE else "patch embedding",
        )
    return Step(max(factor, exact(decay.min_mult)), label)


def _by_groups(decay: LayerDecay, info: ParamInfo, top: Top) -> tuple[Decimal, str] | None:
    """Return the factor as timm works it out, in binary, and the group's name."""
    if info.rung is None or decay.rate is None:
        return None
    return _in_binary(decay.rate, top.group - info.rung), f"group {info.rung}"


def _in_binary(rate: float, exponent: int) -> Decimal:
    try:
        return exact(rate**exponent)
    except OverflowError:
        return Decimal("Infinity")


def _by_stack(decay: LayerDecay, standing: Standing, has_rest: bool) -> tuple[Decimal, str] | None:
    """Return the factor by the published formula, and the rung's name; None where the depth is not defined."""
    rate = exact(decay.rate) if decay.rate is not None else ULMFIT_RATE
    formula = FORMULAS[decay.formula]
    if standing.rung == ABOVE:
        ladder = Ladder(0, has_rest)
        rung = rung_of_final_norm(decay.formula, ladder) if standing.role == "final_norm" else ladder.rest
        return formula(ladder, rung, rate), REST if rung == ladder.rest else "final norm"
    if standing.stack is None or not rungs_of(standing.stack, decay.unit):
        return None
    ladder = Ladder(rungs_of(standing.stack, decay.unit), has_rest, decay.unit)
    return formula(ladder, standing.rung, rate), rung_label(ladder, standing.rung)


def _of_patches(decay: LayerDecay) -> Decimal:
    if decay.patch_embed_mult is not None:
        return exact(decay.patch_embed_mult)
    return DINOV2_PATCH_EMBED if decay.formula == "dinov2" else ONE


def _is_patch_embedding(info: ParamInfo) -> bool:
    return any(part.startswith("patch_embed") for part in info.name.split("."))
