"""Where each tensor stands on its stack's ladder: in which stack, on which rung, and as what."""

from __future__ import annotations

import os.path
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from freezeplan.inventory.records import Inventory, ParamInfo, Stack

REST = "rest"
ABOVE = 1 << 30
Stacks = Mapping[str | None, Stack]


@dataclass(frozen=True)
class Standing:
    """Where a tensor stands: its stack (None: above all stacks), its rung there, and what it is."""

    stack: Stack | None
    rung: int
    role: str


def rungs_of(stack: Stack, unit: str) -> int:
    """Return how many ``layers`` or ``stages`` a stack has; 0 stages where its layers are not in any."""
    return len(stack.stages) if unit == "stages" else stack.length


def standings(inventory: Inventory, unit: str) -> dict[str, Standing]:
    """Place each tensor, by its first name, on a ladder whose rungs are ``layers`` or ``stages``.

    A tied tensor stands where the lowest of its names does: with its embedding. What a stage holds besides
    layers (a downsampling) stands with the layer that is registered before it in its stage, or else with the
    stage's first. So it is in mmpretrain's ``SwinTransformer.get_layer_depth`` (a downsampling at the end of a
    stage) and in the ``group_matcher`` of timm's ``ConvNeXt`` (at its beginning).
    """
    stacks: Stacks = {stack.path: stack for stack in inventory.stacks if stack.main}
    found: dict[str, Standing] = {}
    for info, layer in _with_layers(inventory, stacks):
        tensor = info.alias_of or info.name
        standing = _standing(info, layer, stacks, unit)
        if tensor not in found or standing.rung < found[tensor].rung:
            found[tensor] = standing
    return found


def _with_layers(inventory: Inventory, stacks: Stacks) -> Iterator[tuple[ParamInfo, int | None]]:
    """Yield each name with the layer that it goes with, None outside stacks."""
    before: dict[tuple[str, int | None], int] = {}
    for info in inventory.params:
        stack = stacks.get(info.stack)
        if stack is None:
            yield info, None
            continue
        place = (stack.path, info.stage)
        if info.layer is not None:
            before[place] = info.layer
        yield info, before.get(place, sum(stack.stage_sizes[: info.stage]))


def _standing(info: ParamInfo, layer: int | None, stacks: Stacks, unit: str) -> Standing:
    stack = stacks.get(info.stack)
    # Roles before numbers: what only looks like a stack, as a stem in a numbered list does, has layers of its own.
    in_layer = stack is not None and info.layer is not None
    if not in_layer and "embeddings" in info.roles:
        return Standing(_stack_above(info, list(stacks.values()), unit), 0, "embeddings")
    if not in_layer and "final_norm" in info.roles:
        return Standing(None, ABOVE, "final_norm")
    if stack is None or layer is None:
        return Standing(None, ABOVE, REST)
    ends = list(accumulate(stack.stage_sizes))
    return Standing(stack, 1 + (bisect_right(ends, layer) if unit == "stages" else layer), "layer")


def _stack_above(info: ParamInfo, stacks: Sequence[Stack], unit: str) -> Stack | None:
    """Return the stack that an embedding feeds: the one whose path it shares most of, if that is clear."""
    if not stacks:
        return None
    shared = {
        stack.path: len(os.path.commonprefix([info.module.split("."), stack.path.split(".")]))
        for stack in stacks
    }
    most = max(shared.values())
    nearest = [stack for stack in stacks if shared[stack.path] == most]
    return nearest[0] if len({rungs_of(stack, unit) for stack in nearest}) == 1 else None
