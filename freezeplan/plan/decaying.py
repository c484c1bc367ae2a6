"""The factor that a rule's `layer_decay` gives to each parameter, by where it stands on its stack's ladder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import some
from freezeplan.inventory.records import ParamInfo
from freezeplan.plan import masks
from freezeplan.plan.binding import BoundRule
from freezeplan.plan.ladder import (
    DINOV2_PATCH_EMBED,
    FORMULAS,
    ULMFIT_RATE,
    Ladder,
    rung_label,
    rung_of_final_norm,
)
from freezeplan.plan.layers import with_lengths
from freezeplan.plan.standing import ABOVE, REST, Standing, rungs_of, standings
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import at_key
from freezeplan.spec.tables import LayerDecay

# Code, the key below `layer_decay` that is at fault, message, advice.
Problem = tuple[str, tuple[str, ...], str, str]


@dataclass(frozen=True)
class Step:
    """One rung as a rule sees it: the factor on the learning rate, and the rung's name."""

    factor: float
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
    rate = decay.rate if decay.rate is not None else ULMFIT_RATE
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
        factor *= decay.patch_embed_mult or (DINOV2_PATCH_EMBED if decay.formula == "dinov2" else 1.0)
        label = "patch embedding"
    return Step(max(factor, decay.min_mult), label)


def _is_patch_embedding(info: ParamInfo) -> bool:
    return any(part.startswith("patch_embed") for part in info.name.split("."))


def decay_problems(
    tree: NameTree,
    rules: Sequence[BoundRule],
    steps: Sequence[Step | None],
    winners: Sequence[int],
) -> list[Diagnostic]:
    """Report ladders that cannot be placed: no stack, shared or doubtful layers, no stages, or no clear depth."""
    found = []
    for rule in rules:
        if rule.rule.layer_decay is None or not rule.mask:
            continue
        decided = [p for p in masks.positions_of(rule.mask, tree.size) if winners[p] == rule.index]
        lost = [tree.inventory.params[tree.order[p]] for p in decided if steps[p] is None]
        problem = _about_stacks(tree) or _about_doubts(tree, masks.mask_of_positions(decided, tree.size))
        if not problem and lost:
            problem = _about_depth(tree, rule.rule.layer_decay, lost)
        if problem:
            code, key, message, advice = problem
            found.append(at_key((*rule.path, "layer_decay", *key), code, message, help=advice))
    return found


def _about_stacks(tree: NameTree) -> Problem | None:
    """Say why no ladder at all can be placed in the model."""
    stacks = [stack for stack in tree.inventory.stacks if stack.main]
    if not stacks:
        message = "`layer_decay` needs a stack of layers, and none was found in this model"
        return "FP416", (), message, "write rates for the modules themselves"
    if shared := next((stack for stack in stacks if stack.shared), None):
        message = f"`layer_decay`: the layers of `{shared.path}` share tensors: {shared.shared}"
        return "FP215", (), message, "give them one rate"
    return None


def _about_doubts(tree: NameTree, decided: int) -> Problem | None:
    """Say that it is not clear which modules are the layers, unless a rule stays in one stack of those in doubt."""
    main = {stack.path for stack in tree.inventory.stacks if stack.main}
    for doubt in tree.inventory.doubts:
        inside = decided & _mask(tree, doubt.where)
        paths = [path for path, _, _ in doubt.candidates if path in main]
        if not inside or "layers" not in doubt.roles:
            continue
        if not any(masks.inside(inside, _mask(tree, path)) for path in paths):
            options = with_lengths((path, length) for path, length, _ in doubt.candidates)
            message = f"it is not clear which layers `layer_decay` counts: {doubt.reason}: {options}"
            one = f"set it for one of them, such as `{paths[0]}.@layers`" if paths else None
            return "FP214", (), message, one or "write a rate for each layer, by its path"
    return None


def _mask(tree: NameTree, path: str) -> int:
    return masks.mask_of([tree.by_path[path] if path else tree.root], tree.size)


def _about_depth(tree: NameTree, decay: LayerDecay, lost: Sequence[ParamInfo]) -> Problem:
    """Say why tensors have no depth: their stack is not in stages, or they feed several stacks."""
    placed = standings(tree.inventory, decay.unit)
    stacks = [placed[info.alias_of or info.name].stack for info in lost]
    if paths := list(dict.fromkeys(stack.path for stack in stacks if stack)):
        are = "is not a stack" if len(paths) == 1 else "are not stacks"
        message = f"{some(paths, 3)} {are} in stages: there are no stages to count"
        return "FP419", ("unit",), message, _other_unit(tree)
    names = some([info.name for info in lost], 3)
    message = f"the depth of {names} is not clear: it feeds stacks of different lengths"
    return "FP417", (), message, "leave it out with `except`, and give it a rate of its own"


def _other_unit(tree: NameTree) -> str:
    if any(stack.main and stack.stages for stack in tree.inventory.stacks):
        return 'give its layers a rule of their own, with `unit = "layers"`'
    return 'write `unit = "layers"`: then each layer is a rung'
