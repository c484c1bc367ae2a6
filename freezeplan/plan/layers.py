"""What ``@layers`` and ``@stages`` select: whole stacks, or a slice of one."""

from __future__ import annotations

from collections.abc import Iterable

from freezeplan.inventory.records import Doubt, Stack
from freezeplan.plan.tree import NameTree, Node, Scope
from freezeplan.spec.selector import Segment, Slice

Problem = tuple[str, str, str] | None
Items = tuple[tuple[str, ...], ...]


def layer_nodes(tree: NameTree, scope: Scope, segment: Segment) -> tuple[list[Node], Problem]:
    """Return the nodes of the layers (or stages) in a scope that a segment selects, or why there are none.

    Without a slice all main stacks in the scope count. Lists that only look like layers are meant where
    nothing else is in the scope.
    """
    stacks = _stacks(tree, scope, segment)
    if not stacks:
        return [], _none(segment)
    if segment.cut is None:
        return [
            tree.by_path[path] for stack in stacks for span in items(stack, segment) for path in span
        ], None
    if len(stacks) > 1:
        return [], _several(stacks, segment)
    return _cut(tree, stacks[0], segment, segment.cut)


def items(stack: Stack, segment: Segment) -> Items:
    """Return the paths of each layer of a stack, or of each stage for ``@stages``."""
    return stack.stages if segment.role == "stages" else stack.spans


def _stacks(tree: NameTree, scope: Scope, segment: Segment) -> list[Stack]:
    inside = [
        stack
        for stack in tree.inventory.stacks
        if items(stack, segment)
        and all(scope.below(tree.by_path[path]) for span in items(stack, segment) for path in span)
    ]
    main = [stack for stack in inside if stack.main]
    return main or ([] if scope.below(tree.root) else inside)


def _none(segment: Segment) -> Problem:
    if segment.role == "stages":
        return "FP203", "no stack in stages was found here", "`@layers` selects the layers of any stack"
    advice = "name the layers by their paths, such as `encoder.layer.{0..5}`"
    return "FP203", "no stack of layers was found here", advice


def _several(stacks: list[Stack], segment: Segment) -> Problem:
    found = with_lengths((stack.path, len(items(stack, segment))) for stack in stacks)
    name = stacks[0].path.rpartition(".")[0] or stacks[0].path
    message = f"`{segment.text}` could mean several stacks: {found}"
    return "FP204", message, f"put one in front: `{name}.{segment.text}`"


def with_lengths(stacks: Iterable[tuple[str, int]]) -> str:
    """List stacks by their paths, each with its number of layers."""
    return ", ".join(f"`{path or 'the root'}` ({length})" for path, length in stacks)


def _cut(tree: NameTree, stack: Stack, segment: Segment, cut: Slice) -> tuple[list[Node], Problem]:
    found, text = items(stack, segment), segment.text
    if stack.shared:
        advice = "select all of them with `@layers`; they train or freeze together"
        return [], ("FP215", f"`{text}`: the layers of `{stack.label}` share tensors: {stack.shared}", advice)
    for bound in (cut.start, cut.stop):
        position = bound.resolve(len(found)) if bound else 0
        if not 0 <= position <= len(found) or (cut.single and position == len(found)):
            message = f"`{stack.label}` has {len(found)} {segment.role}; `{text}` reaches outside it"
            advice = f"indices go from 0 to {len(found) - 1}, or from -{len(found)} to -1"
            return [], ("FP205", message, advice)
    start = cut.start.resolve(len(found)) if cut.start else 0
    stop = cut.stop.resolve(len(found)) if cut.stop else len(found)
    chosen = found[start : start + 1] if cut.single else found[start:stop]
    if not chosen:
        kind = (segment.role or "").removesuffix("s")
        message = f"`{text}` selects no {kind} of the {len(found)} in `{stack.label}`"
        return [], ("FP205", message, "widen the slice")
    return [tree.by_path[path] for span in chosen for path in span], None


def doubt_about(tree: NameTree, scope: Scope, role: str) -> Problem:
    """Return FP214 when the role depends on evidence that disagrees and the scope does not settle it."""
    for doubt in tree.inventory.doubts:
        if role in doubt.roles and _is_open(tree, scope, doubt):
            found = with_lengths((path, length) for path, length, _ in doubt.candidates)
            reason = f"{doubt.reason}: {found}" if found else doubt.reason
            return "FP214", f"`@{role}` is not clear here: {reason}", doubt.advice
    return None


def _is_open(tree: NameTree, scope: Scope, doubt: Doubt) -> bool:
    inside = [path for path, _, _ in doubt.candidates if scope.below(tree.by_path[path])]
    return len(inside) > 1 or not doubt.candidates
