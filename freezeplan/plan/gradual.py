"""`[gradual]`: stacks of layers thawed step by step, written out as phases."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import zip_longest
from operator import or_

from freezeplan.diagnostics import Diagnostic
from freezeplan.inventory.records import ParamInfo, Stack
from freezeplan.plan import masks
from freezeplan.plan.binding import match_patterns
from freezeplan.plan.layers import items
from freezeplan.plan.layout import PhaseRule, Stage, length_of
from freezeplan.plan.records import Length
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.selector import Segment, parse_selector
from freezeplan.spec.tables import Gradual, Rule, Spec

# The layers (or stages) of a stack from the bottom: their numbers and the paths of their modules.
Rungs = list[tuple[int, tuple[str, ...]]]

OVER: KeyPath = ("gradual", "over")
THEN: KeyPath = ("gradual", "then")


@dataclass(frozen=True)
class Thaw:
    """What one phase thaws: the paths it is shown by, and the set of names."""

    name: str
    paths: tuple[str, ...]
    mask: int
    place: KeyPath


def gradual_phases(
    spec: Spec, tree: NameTree, gradual: Gradual
) -> tuple[tuple[Stage, ...], list[Diagnostic]]:
    """Return the phases that ``[gradual]`` stands for, and what was wrong with it.

    A phase in which nothing is thawed yet (unless ``start`` is false), then ``per_phase`` layers of each
    stack at a time, then one phase per pattern of ``then``. Final norm and pooler go with the top layer; the
    pooler stays as it is in a spec with tasks, whose heads do not read it.
    """
    ladders, problems = ladders_of(tree, gradual.over, OVER)
    if problems:
        return (), problems
    thaws = _steps(spec, tree, gradual, ladders)
    for entry, text in enumerate(gradual.then or ()):
        mask, found = match_patterns(tree, [text], THEN, False, entry)
        problems += found
        thaws.append(Thaw(text, (text,), mask, (*THEN, entry)))
    return _stages(gradual, thaws), problems


def ladders_of(
    tree: NameTree, over: Sequence[str], place: KeyPath
) -> tuple[list[tuple[Stack, Rungs]], list[Diagnostic]]:
    """Return each stack that some patterns name with its layers (or stages), from the bottom, and what is wrong.

    ``place`` is the key path of the patterns.
    """
    found: list[tuple[Stack, Rungs]] = []
    problems: list[Diagnostic] = []
    for entry, text in enumerate(over):
        at = (*place, entry)
        mask, wrong = match_patterns(tree, [text], place, False, entry)
        problems += wrong
        named = [] if wrong else _inside(tree, mask, _last_segment(text))
        problems += [_shared(at, text, stack) for stack, _ in named if stack.shared]
        if not named and not wrong:
            message = f"`{text}` names no stack of layers to take one by one"
            advice = "write `@layers` or `@stages`, with the path of a stack in front where there are several"
            problems.append(at_key(at, "FP216", message, help=advice, within=(0, len(text))))
        found += named
    return found, problems


def _last_segment(text: str) -> Segment | None:
    """Return the last segment of a path, None for patterns that are none (`class:`, `re:`)."""
    branches = parse_selector(text).branches
    return branches[0][-1] if branches else None


def _inside(tree: NameTree, mask: int, segment: Segment | None) -> list[tuple[Stack, Rungs]]:
    if segment is None or segment.role not in ("layers", "stages"):
        return []
    found = []
    for stack in tree.inventory.stacks:
        numbered = enumerate(items(stack, segment))
        rungs = [
            (number, paths) for number, paths in numbered if masks.inside(mask_of_paths(tree, paths), mask)
        ]
        if rungs:
            found.append((stack, rungs))
    main = [pair for pair in found if pair[0].main]
    return main or found


def mask_of_paths(tree: NameTree, paths: Sequence[str]) -> int:
    return masks.mask_of([tree.by_path[path] for path in paths], tree.size)


def _shared(place: KeyPath, text: str, stack: Stack) -> Diagnostic:
    message = f"the layers of `{stack.label}` share tensors: {stack.shared}"
    advice = "they thaw and freeze together: write one [[phase]] for all of them"
    return at_key(place, "FP215", message, help=advice, within=(0, len(text)))


def _steps(
    spec: Spec, tree: NameTree, gradual: Gradual, ladders: Sequence[tuple[Stack, Rungs]]
) -> list[Thaw]:
    top_down = gradual.direction == "top_down"
    columns = []
    for _, rungs in ladders:
        ordered = rungs[::-1] if top_down else rungs
        size = gradual.per_phase
        columns.append([ordered[at : at + size] for at in range(0, len(ordered), size)])
    rows = list(zip_longest(*columns, fillvalue=[]))
    word = word_for(gradual.over)
    thaws = [_thaw(tree, word, row) for row in rows]
    above = _above(spec, tree, [stack for stack, _ in ladders])
    top = 0 if top_down else len(thaws) - 1
    if above:
        last = thaws[top]
        paths = (*last.paths, *(f"@{role}" for role in above))
        thaws[top] = replace(last, paths=paths, mask=reduce(or_, above.values(), last.mask))
    return thaws


def word_for(over: Sequence[str]) -> str:
    """Return what the rungs of some patterns are called: ``layers`` or ``stages``."""
    first = _last_segment(over[0])
    return (first.role if first else None) or "layers"


def _thaw(tree: NameTree, word: str, row: Sequence[Sequence[tuple[int, tuple[str, ...]]]]) -> Thaw:
    parts = [[number for number, _ in part] for part in row if part]
    paths = tuple(path for part in row for _, found in part for path in found)
    kind = word.removesuffix("s") if len(parts) == len(parts[0]) == 1 else word
    return Thaw(f"{kind} {' + '.join(map(numbers_text, parts))}", paths, mask_of_paths(tree, paths), OVER)


def numbers_text(numbers: Sequence[int]) -> str:
    """Write numbers as their first and last."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}-{high}"


def _above(spec: Spec, tree: NameTree, stacks: Sequence[Stack]) -> dict[str, int]:
    """Return what goes with the top layer, by role: final norms, and poolers that something reads."""
    roles = ("final_norm",) if spec.task else ("final_norm", "pooler")
    found = {}
    for role in roles:
        positions = [
            position
            for position, index in enumerate(tree.order)
            if _belongs(tree, tree.inventory.params[index], role, stacks)
        ]
        if positions:
            found[role] = masks.mask_of_positions(positions, tree.size)
    return found


def _belongs(tree: NameTree, info: ParamInfo, role: str, chosen: Sequence[Stack]) -> bool:
    if role not in info.roles or info.layer is not None:
        return False
    stacks = [stack for stack in tree.inventory.stacks if stack.main] or list(chosen)
    shared = {
        stack.path: len(os.path.commonprefix([info.name.split("."), stack.path.split(".")]))
        for stack in stacks
    }
    nearest = {path for path, depth in shared.items() if depth == max(shared.values())}
    return nearest <= {stack.path for stack in chosen}


def _stages(gradual: Gradual, thaws: Sequence[Thaw]) -> tuple[Stage, ...]:
    length = length_of(gradual.epochs, gradual.steps, gradual.until)
    first = [Stage("start", ("gradual",), length)] if gradual.start else []
    stages = [
        *first,
        *(Stage(thaw.name, ("gradual",), length, (_rule(thaw),), gradual.schedule) for thaw in thaws),
    ]
    if gradual.last_epochs is not None and stages:
        stages[-1] = replace(stages[-1], length=Length("epochs", gradual.last_epochs))
    return tuple(stages)


def _rule(thaw: Thaw) -> PhaseRule:
    rule = Rule(name=thaw.name, match=list(thaw.paths), state="trainable")
    return PhaseRule(rule, thaw.place, thaw.mask)
