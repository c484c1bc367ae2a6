"""What must hold of the structure found in any model, and of any plan: each law returns where it does not."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate, combinations

from freezeplan.inventory.records import Inventory
from freezeplan.inventory.structure import under_any
from freezeplan.plan.records import Plan

DISJOINT = ("embeddings", "layers", "final_norm", "pooler", "heads")


def roles_are_disjoint(found: Inventory) -> list[str]:
    """No parameter name is in two of embeddings, layers, final norm, pooler and heads."""
    return [
        f"{info.name} is in {first} and {second}"
        for info in found.params
        for first, second in combinations(DISJOINT, 2)
        if {first, second} <= info.roles
    ]


def positions_are_contiguous(found: Inventory) -> list[str]:
    """The layers of a stack that hold parameters are numbered from 0 without a gap, and stages alike."""
    wrong = []
    for stack in found.stacks:
        seen = {info.layer for info in found.params if info.stack == stack.path} - {None}
        if seen != set(range(stack.length)):
            wrong.append(f"{stack.path}: {sorted(seen)} of {stack.length}")
        if stack.stages and sum(stack.stage_sizes) != stack.length:
            wrong.append(f"{stack.path}: stages of {stack.stage_sizes} make {stack.length}")
    return wrong


def layers_of_stages_are_in_one(found: Inventory) -> list[str]:
    """Every parameter of a layer of a stack in stages is in the stage that the sizes say."""
    ends = {stack.path: list(accumulate(stack.stage_sizes)) for stack in found.stacks if stack.stages}
    return [
        f"{info.name} is in stage {info.stage}"
        for info in found.params
        if info.stack in ends and info.layer is not None
        if info.stage != bisect_right(ends[info.stack], info.layer)
    ]


def paths_exist(found: Inventory) -> list[str]:
    """Every layer, stage and role node is a module or parameter of the model."""
    known = {info.path for info in found.modules} | {info.name for info in found.params}
    named = [path for stack in found.stacks for span in (*stack.spans, *stack.stages) for path in span]
    named += [path for paths in found.role_nodes.values() for path in paths]
    return [path for path in named if path not in known]


def one_layer_each(found: Inventory) -> list[str]:
    """Every parameter name is in at most one layer of one stack, and stacks share no path."""
    spans = [
        (stack.path, index, path)
        for stack in found.stacks
        for index, span in enumerate(stack.spans)
        for path in span
    ]
    twice = [path for path, count in Counter(path for _, _, path in spans).items() if count > 1]
    roots = {path for _, _, path in spans}
    nested = [path for path in roots if under_any(path, _above(path, roots))]
    paths = Counter(stack.path for stack in found.stacks)
    return [*twice, *nested, *(path for path, count in paths.items() if count > 1)]


def _above(path: str, roots: set[str]) -> list[str]:
    parts = path.split(".")
    ups = {".".join(parts[:end]) for end in range(1, len(parts))}
    return sorted(ups & roots)


def backbone_and_heads_part_the_model(found: Inventory) -> list[str]:
    """Backbone and heads share no name and leave none out."""
    both = [info.name for info in found.params if {"backbone", "heads"} <= info.roles]
    neither = [info.name for info in found.params if not {"backbone", "heads"} & info.roles]
    return [*(f"in both: {name}" for name in both), *(f"in neither: {name}" for name in neither)]


LAWS = (
    roles_are_disjoint,
    positions_are_contiguous,
    layers_of_stages_are_in_one,
    paths_exist,
    one_layer_each,
    backbone_and_heads_part_the_model,
)


def broken_laws(found: Inventory) -> dict[str, list[str]]:
    """Return the laws that do not hold, by name, each with the places."""
    return {law.__name__: places for law in LAWS if (places := law(found))}


def every_tensor_has_one_state(plan: Plan, found: Inventory) -> list[str]:
    """The plan lists every tensor once, in order, and each phase says of each whether it trains."""
    ours, theirs = [param.name for param in plan.params], [info.name for info in found.tensors]
    wrong = [f"{name} is not in the plan as often as in the model" for name in _unequal(ours, theirs)]
    for phase in plan.phases:
        states = [what.state for what in phase.assignments]
        if len(states) != len(ours) or not {"frozen", "trainable"} >= set(states):
            wrong.append(f"{phase.name}: {len(states)} states for {len(ours)} tensors, {sorted(set(states))}")
    return wrong


def groups_part_what_trains(plan: Plan, found: Inventory) -> list[str]:
    """Groups share no tensor and hold what any phase trains; the frozen rows hold the rest, each once."""
    trained = {
        param.name
        for phase in plan.phases
        for param, what in zip(plan.params, phase.assignments, strict=False)  # lengths are another law's
        if what.trainable
    }
    grouped = [name for group in plan.groups for name in group.members]
    frozen = [name for row in plan.frozen for name in row.members]
    rest = [info.name for info in found.tensors if info.name not in trained]
    return [
        *(f"{name}: groups do not hold it as it trains" for name in _unequal(grouped, trained)),
        *(f"{name}: the frozen rows do not hold it as it is frozen" for name in _unequal(frozen, rest)),
    ]


def _unequal(first: Iterable[str], second: Iterable[str]) -> list[str]:
    ours, theirs = Counter(first), Counter(second)
    return sorted(name for name in ours.keys() | theirs.keys() if ours[name] != theirs[name])


PLAN_LAWS: tuple[Callable[[Plan, Inventory], list[str]], ...] = (
    every_tensor_has_one_state,
    groups_part_what_trains,
)


def broken_plan_laws(plan: Plan, found: Inventory) -> dict[str, list[str]]:
    """Return the laws that a plan does not hold, by name, each with the places."""
    return {law.__name__: places for law in PLAN_LAWS if (places := law(plan, found))}
