"""Where each parameter stands on its stack's ladder, and the factor that a rule's `layer_decay` gives it."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass

from freezeplan.diagnostics import Diagnostic
from freezeplan.inventory.records import Inventory, ParamInfo, Stack
from freezeplan.plan import masks
from freezeplan.plan.binding import BoundRule, report
from freezeplan.plan.ladder import (
    DINOV2_PATCH_EMBED,
    FORMULAS,
    ULMFIT_RATE,
    Ladder,
    rung_label,
    rung_of_final_norm,
)
from freezeplan.plan.tree import NameTree
from freezeplan.plan.wording import some
from freezeplan.spec.tables import LayerDecay, Spec

REST = "rest"


@dataclass(frozen=True)
class Step:
    """One rung as a rule sees it: the factor on the learning rate, and the rung's name."""

    factor: float
    label: str


@dataclass(frozen=True)
class Standing:
    """Where a tensor stands: its stack (None: above all stacks), its rung there, and what it is."""

    stack: Stack | None
    rung: int
    role: str


def decay_steps(tree: NameTree, rules: Sequence[BoundRule], winners: Sequence[int]) -> list[Step | None]:
    """Return each name's step under the rule that decides its ``layer_decay``, in tree order.

    ``winners`` holds the deciding rule's index or -1. There is no step (None) where no rule decides, and
    where the depth is not defined: an embedding below several stacks of different lengths.
    """
    if all(index < 0 for index in winners):
        return [None] * len(winners)
    has_head = bool(tree.inventory.role_nodes.get("heads"))
    by_tensor = _standings(tree.inventory)
    names = [tree.inventory.params[index] for index in tree.order]
    return [
        _step(rules[index].rule.layer_decay, by_tensor[info.alias_of or info.name], info, has_head)
        if index >= 0
        else None
        for index, info in zip(winners, names, strict=True)
    ]


def _standings(inventory: Inventory) -> dict[str, Standing]:
    """Place each tensor; a tied one stands where the lowest of its names does: with its embedding."""
    stacks = [stack for stack in inventory.stacks if stack.main]
    found: dict[str, Standing] = {}
    for info in inventory.params:
        tensor = info.alias_of or info.name
        standing = _standing(info, stacks)
        if tensor not in found or standing.rung < found[tensor].rung:
            found[tensor] = standing
    return found


ABOVE = 1 << 30


def _standing(info: ParamInfo, stacks: Sequence[Stack]) -> Standing:
    own = next((stack for stack in stacks if stack.path == info.stack), None)
    if own is not None and info.layer is not None:
        return Standing(own, info.layer + 1, "layer")
    if "embeddings" in info.roles:
        return Standing(_stack_above(info, stacks), 0, "embeddings")
    return Standing(None, ABOVE, "final_norm" if "final_norm" in info.roles else REST)


def _stack_above(info: ParamInfo, stacks: Sequence[Stack]) -> Stack | None:
    """Return the stack that an embedding feeds: the one whose path it shares most of, if that is clear."""
    if not stacks:
        return None
    shared = {
        stack.path: len(os.path.commonprefix([info.module.split("."), stack.path.split(".")]))
        for stack in stacks
    }
    most = max(shared.values())
    nearest = [stack for stack in stacks if shared[stack.path] == most]
    return nearest[0] if len({stack.length for stack in nearest}) == 1 else None


def _step(decay: LayerDecay | None, standing: Standing, info: ParamInfo, has_head: bool) -> Step | None:
    assert decay is not None
    rate = decay.rate if decay.rate is not None else ULMFIT_RATE
    formula = FORMULAS[decay.formula]
    if standing.rung == ABOVE:
        ladder = Ladder(0, has_head)
        rung = rung_of_final_norm(decay.formula, ladder) if standing.role == "final_norm" else ladder.rest
        factor, label = formula(ladder, rung, rate), REST if rung == ladder.rest else "final norm"
    elif standing.stack is None:
        return None
    else:
        ladder = Ladder(standing.stack.length, has_head)
        factor, label = formula(ladder, standing.rung, rate), rung_label(ladder, standing.rung)
    if standing.role == "embeddings" and _is_patch_embedding(info):
        factor *= decay.patch_embed_mult or (DINOV2_PATCH_EMBED if decay.formula == "dinov2" else 1.0)
        label = "patch embedding"
    return Step(max(factor, decay.min_mult), label)


def _is_patch_embedding(info: ParamInfo) -> bool:
    return any(part.startswith("patch_embed") for part in info.name.split("."))


def decay_problems(
    spec: Spec,
    tree: NameTree,
    rules: Sequence[BoundRule],
    steps: Sequence[Step | None],
    winners: Sequence[int],
) -> list[Diagnostic]:
    """Report ladders that cannot be placed: no stack, or an embedding below stacks of different lengths."""
    found = []
    for rule in rules:
        if rule.rule.layer_decay is None or not rule.mask:
            continue
        place = (*rule.path, "layer_decay")
        decided = [p for p in masks.positions_of(rule.mask, tree.size) if winners[p] == rule.index]
        lost = [tree.inventory.params[tree.order[p]].name for p in decided if steps[p] is None]
        if not any(stack.main for stack in tree.inventory.stacks):
            message = "`layer_decay` needs a stack of layers, and none was found in this model"
            found.append(
                report(spec, "FP416", message, place, advice="write rates for the modules themselves")
            )
        elif shared := next((item for item in tree.inventory.stacks if item.main and item.shared), None):
            message = f"`layer_decay`: the layers of `{shared.path}` share tensors: {shared.shared}"
            found.append(report(spec, "FP215", message, place, advice="give them one rate"))
        elif lost:
            message = f"the depth of {some(lost, 3)} is not clear: it feeds stacks of different lengths"
            advice = "leave it out with `except`, and give it a rate of its own"
            found.append(report(spec, "FP417", message, place, advice=advice))
    return found
