"""What is wrong with a rule's `layer_decay`: ladders that cannot be placed, or stand upside down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import format_number, some
from freezeplan.inventory.records import ParamInfo
from freezeplan.plan import masks
from freezeplan.plan.binding import BoundRule
from freezeplan.plan.layer_decay.standing import standings
from freezeplan.plan.layer_decay.steps import Step, counts_groups
from freezeplan.plan.layers import with_lengths
from freezeplan.plan.rates import EXACT, ONE, exact
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import at_key
from freezeplan.spec.tables import LayerDecay

# Code, the key below `layer_decay` that is at fault, message, advice.
Problem = tuple[str, tuple[str, ...], str, str]


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
        problem = None
        if not _is_grouped(tree, rule.rule.layer_decay):
            problem = _about_stacks(tree) or _about_doubts(tree, masks.mask_of_positions(decided, tree.size))
        if not problem and lost:
            problem = _about_depth(tree, rule.rule.layer_decay, lost)
        if problem:
            code, key, message, advice = problem
            found.append(at_key((*rule.path, "layer_decay", *key), code, message, help=advice))
    return found


def _is_grouped(tree: NameTree, decay: LayerDecay) -> bool:
    """Tell whether the model's own groups are the rungs: then it is no question which layers it has."""
    return counts_groups(decay) and any(info.rung is not None for info in tree.inventory.params)


def upside_down(rules: Sequence[BoundRule]) -> Iterator[Diagnostic]:
    """Warn of rates above 1: the lowest layers would learn fastest."""
    for rule in rules:
        decay = rule.rule.layer_decay
        if decay is not None and decay.rate is not None and decay.rate > 1 and rule.mask:
            rate = format_number(decay.rate)
            message = f"`layer_decay` with rate = {rate}: lower layers learn faster than upper ones"
            help_ = f"write a rate below 1, such as {float(EXACT.divide(ONE, exact(decay.rate))):.2g}"
            yield at_key((*rule.path, "layer_decay", "rate"), "FP427", message, help=help_)


def _about_stacks(tree: NameTree) -> Problem | None:
    """Say why no ladder at all can be placed in the model."""
    stacks = [stack for stack in tree.inventory.stacks if stack.main]
    if not stacks:
        message = "`layer_decay` needs a stack of layers, and none was found in this model"
        return "FP416", (), message, "write rates for the modules themselves"
    if shared := next((stack for stack in stacks if stack.shared), None):
        message = f"`layer_decay`: the layers of `{shared.label}` share tensors: {shared.shared}"
        return "FP215", (), message, "give them one rate"
    return None


def _about_doubts(tree: NameTree, decided: int) -> Problem | None:
    """Say that it is not clear which modules are the layers, unless a rule stays in one stack of those in doubt."""
    main = {stack.path for stack in tree.inventory.stacks if stack.main}
    for doubt in tree.inventory.doubts:
        inside = decided & _mask(tree, doubt.where)
        options = {path: _mask(tree, path) for path, _, _ in doubt.candidates}
        paths = [path for path in options if path in main and _holds_no_other(path, options)]
        if not inside or "layers" not in doubt.roles:
            continue
        if not any(masks.inside(inside, _mask(tree, path)) for path in paths):
            found = with_lengths((path, length) for path, length, _ in doubt.candidates)
            message = f"it is not clear which layers `layer_decay` counts: {doubt.reason}: {found}"
            one = f"set it for one of them, such as `{paths[0]}.@layers`" if paths else None
            return "FP214", (), message, one or "write a rate for each layer, by its path"
    return None


def _holds_no_other(path: str, options: Mapping[str, int]) -> bool:
    """Tell whether no other candidate lies in one: then the choice between the two would be as open."""
    return not any(other != path and masks.inside(mask, options[path]) for other, mask in options.items())


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
