"""Which modules run in eval mode, and how long the frozen prefix is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from freezeplan.inventory.records import ParamInfo
from freezeplan.plan.records import Assignment, FrozenPrefix
from freezeplan.plan.tree import NameTree, Node

BACKBONE = "backbone."


def eval_modules(
    tree: NameTree, assignments: Sequence[Assignment]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the modules in eval mode, and the frozen ones that ``eval_mode = false`` keeps training.

    A module all of whose parameters are frozen is in eval mode; a module without parameters follows
    its nearest ancestor that has some, but is in eval mode where it stands among frozen parameters
    before the first trainable one (registration order stands for execution order). ``assignments``
    are in tree order.
    """
    live = [0, *accumulate(int(what.trainable) for what in assignments)]
    kept = [0, *accumulate(int(_opted_out(what)) for what in assignments)]
    first = next((position for position, what in enumerate(assignments) if what.trainable), len(assignments))
    paths = {module.path for module in tree.inventory.modules}
    in_eval, in_train = [], []
    for node in tree.nodes:
        if node.path not in paths:
            continue
        owner = _owner(node)
        before = node.low == node.high and _among_frozen(node, owner, first)
        if kept[owner.high] > kept[owner.low]:
            if live[owner.high] == live[owner.low]:
                in_train.append(node.path)
        elif live[owner.high] == live[owner.low] or before:
            in_eval.append(node.path)
    return tuple(in_eval), tuple(in_train)


def _among_frozen(node: Node, owner: Node, first: int) -> bool:
    """Whether frozen parameters surround a module without parameters.

    A dropout that its trainable head or layer registers first stays live: it belongs to that layer.
    """
    return node.low < first or (node.low == first and owner.low < node.low)


def _opted_out(what: Assignment) -> bool:
    return not what.trainable and what.eval_mode is False


def _owner(node: Node) -> Node:
    """Return the node itself if it holds parameters, else its nearest ancestor that does."""
    while node.low == node.high and node.parent is not None:
        node = node.parent
    return node


def frozen_prefix(tree: NameTree, assignments: Sequence[Assignment]) -> FrozenPrefix:
    """Return how many of the first layers of the model's stack are frozen with all that feeds them.

    Only a model with one main stack, whose layers are whole modules of their own, has a prefix. What is
    registered before the stack feeds it, and so do embeddings wherever they stand: tables of relative
    positions often come after the layers that read them. A module that ``eval_mode = false`` keeps in training
    mode ends the prefix as one that trains does: it gives other numbers each time.
    """
    params = tree.inventory.params
    whole = _whole_backbone([params[index].name for index in tree.order], assignments)
    stacks = [stack for stack in tree.inventory.stacks if stack.main]
    if len(stacks) != 1 or stacks[0].shared or stacks[0].companions:
        return FrozenPrefix(None, 0, 0, whole)
    layers = [tree.by_path[path] for path in stacks[0].layers]
    ends = [position for position, what in enumerate(assignments) if what.trainable or _opted_out(what)]
    if any(position < layers[0].low or feeds(params[tree.order[position]]) for position in ends):
        return FrozenPrefix(stacks[0].path, 0, stacks[0].length, whole)
    first = min((p for p in ends if p < layers[-1].high), default=len(assignments))
    count = sum(1 for node in layers if node.high <= first)
    return FrozenPrefix(stacks[0].path, count, stacks[0].length, whole)


def _whole_backbone(names: Sequence[str], assignments: Sequence[Assignment]) -> bool:
    """Whether something trains, and all of the backbone under the heads of the bundled trainer is as it was."""
    backbone = [what for name, what in zip(names, assignments, strict=True) if name.startswith(BACKBONE)]
    ended = any(what.trainable or _opted_out(what) for what in backbone)
    return bool(backbone) and not ended and any(what.trainable for what in assignments)


def feeds(info: ParamInfo) -> bool:
    """Whether a tensor feeds the layers wherever it stands: embeddings do."""
    return "embeddings" in info.roles and info.layer is None
