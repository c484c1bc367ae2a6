"""Finds the stacks of layers in a tree of modules: repetition first, then what confirms it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from freezeplan.inventory.by_growth import Chosen, Lists, caused, in_order, of_parts
from freezeplan.inventory.by_repetition import UNSURE, as_pattern, stacks_by_repetition, tied_layers
from freezeplan.inventory.candidates import LAYER_COUNT, Candidate, apart, candidates, outermost
from freezeplan.inventory.growth import Growth
from freezeplan.inventory.layer_counts import Count
from freezeplan.inventory.records import Doubt, Stack
from freezeplan.inventory.stages import in_stages
from freezeplan.inventory.structure import Hints, Tree, is_under


@dataclass(frozen=True)
class Found:
    """Hold the stacks of a model in registration order, and where the evidence for them disagrees."""

    stacks: tuple[Stack, ...]
    doubts: tuple[Doubt, ...] = ()


def find_stacks(tree: Tree, hints: Hints) -> Found:
    """Return every outermost stack; ``main`` ones are the model's layers.

    A list of numbered modules is a candidate. Clear is a tower where one candidate alone is marked by the
    library (its items derive from transformers' layer base class, hidden states of their class are recorded,
    or it is never split) and has as many items as the nearest config counts layers. Of the others the
    model's own code is asked which lists grow when a count in the config is raised. In towers for which that
    gives no answer (plain torch modules have no config), the best confirmed candidates are main; contradicting evidence
    becomes a doubt. Where none is confirmed in the whole model, its own groups or repetition alone decide.
    """
    lists = candidates(tree, hints)
    clear = _clear(lists)
    growths = _growths(lists, clear, hints)
    chosen = [Chosen((item,), item.evidence) for item in clear]
    chosen += caused(_apart(lists, chosen), growths)
    grown = {path for growth in growths for path in growth.lists}
    steps = (
        lambda rest: (of_parts(rest, growths, layers_only=True), ()),
        lambda rest: (_by_counts(rest), ()),
        lambda rest: _weighed({path: item for path, item in rest.items() if path not in grown}),
    )
    doubts: list[Doubt] = []
    for step in steps:
        more, unsure = step(_in_free_towers(lists, chosen))
        chosen, doubts = [*chosen, *more], [*doubts, *unsure]
    if not chosen and (parts := of_parts(lists, growths, layers_only=False)):
        chosen, unsure = _by_parts(lists, parts)
        doubts += unsure
    elif not chosen:
        repeated, unsure = stacks_by_repetition(tree, hints)
        repeated = tuple(_with_marks(stack, lists) for stack in repeated)
        return Found(_with_others(tree, repeated, lists), (*doubts, *unsure))
    chosen = in_order(chosen, lists)
    stacks = [_shared(tree, _stack(item), item, _lengths(lists, growths)) for item in chosen]
    taken = [root for item in chosen for root in item.roots] + [stack.path for stack in stacks]
    return Found(_with_others(tree, stacks, lists, taken), tuple(doubts))


def _clear(lists: Lists) -> list[Candidate]:
    """Return the one candidate of each tower where nothing speaks against it."""
    found = outermost(_alike(lists))
    sure = [item for item in found if item.marks and LAYER_COUNT in item.counts and item.length > 1]
    rivals = {item.tower.path for item in found if item.score and item not in sure}
    towers = Counter(item.tower.path for item in sure)
    return [
        item
        for item in sure
        if towers[item.tower.path] == 1 and item.tower.path not in rivals and not _per_stage(item)
    ]


def _growths(lists: Lists, clear: list[Candidate], hints: Hints) -> tuple[Growth, ...]:
    """Ask about all counts but those of clear towers' layers; about none when all towers are clear."""
    rest = [item for item in _alike(lists) if apart(item, [other.path for other in clear])]
    open_towers = {item.tower.config for item in rest if item.tower not in [other.tower for other in clear]}
    if hints.growths is None or not (open_towers or not clear):
        return ()
    settled = {item.tower.config: item.length for item in clear if item.tower.config not in open_towers}
    return hints.growths([item.length for item in lists.values()], settled)


def _apart(lists: Lists, chosen: list[Chosen]) -> Lists:
    taken = [root for item in chosen for root in item.roots]
    return {path: item for path, item in lists.items() if apart(item, taken)}


def _in_free_towers(lists: Lists, chosen: list[Chosen]) -> Lists:
    """Return the lists of towers that hold no stack yet."""
    taken = [root for item in chosen for root in item.roots]
    towers = {item.tower.path for item in lists.values()}
    free = {tower for tower in towers if not any(is_under(path, tower) for path in taken)}
    return {path: item for path, item in lists.items() if item.tower.path in free and apart(item, taken)}


def _alike(lists: Lists) -> list[Candidate]:
    return [item for item in lists.values() if item.alike and (item.length > 1 or item.score)]


def _per_stage(item: Candidate) -> bool:
    counts = [count for count in item.tower.counts.values() if isinstance(count, tuple)]
    return any(len(count) == item.length or item.length == sum(count) for count in counts)


def _by_counts(lists: Lists) -> list[Chosen]:
    """Return the stacks in stages whose blocks a config counts, where the model's code gives no answer."""
    found = []
    for outer in outermost(_alike(lists)):
        for name, count in outer.tower.counts.items():
            if isinstance(count, tuple) and len(count) == outer.length:
                inner = [_fitting(lists, item, size) for item, size in zip(outer.items, count, strict=True)]
                groups = in_stages(count, [path for path in inner if path], lists)
                evidence = (f"{name} = {list(count)}, blocks of {len(count)} stages in order",)
                found += [Chosen(item.lists, evidence, item) for item in groups[:1]]
                break
    return found


def _fitting(lists: Lists, stage: str, size: int) -> str | None:
    inside = [item for item in lists.values() if is_under(item.path, stage)]
    return next((item.path for item in inside if item.length == size), None)


def _weighed(lists: Lists) -> tuple[list[Chosen], tuple[Doubt, ...]]:
    """Choose by weight of evidence, tower by tower; where marks and counts part ways, say so."""
    confirmed = [item for item in outermost(_alike(lists)) if item.score >= 2 and item.length > 1]
    best = {item.tower.path: max(_scores(confirmed, item.tower.path)) for item in confirmed}
    main = [item for item in confirmed if item.score == best[item.tower.path]]
    doubts = tuple(doubt for tower in best if (doubt := _doubt(tower, confirmed)))
    return [Chosen((item,), item.evidence) for item in main], doubts


def _by_parts(lists: Lists, parts: list[Chosen]) -> tuple[list[Chosen], tuple[Doubt, ...]]:
    """Choose what some count makes longer, where nothing else is confirmed; larger lists are a doubt."""
    found = outermost(_alike(lists))
    most = max((item.numel for item in found), default=0)
    counted = [root for item in parts for root in item.roots]
    missed = [item for item in found if item.numel * 2 > most and item.path not in counted]
    reason = "the largest list of repeated modules is not one that the config counts"
    ranked = [*missed, *(item.lists[0] for item in parts)]
    return parts, (_unsure("", reason, ranked),) if missed else ()


def _scores(found: Iterable[Candidate], tower: str) -> list[int]:
    return [item.score for item in found if item.tower.path == tower]


def _doubt(tower: str, confirmed: list[Candidate]) -> Doubt | None:
    inside = [item for item in confirmed if item.tower.path == tower]
    marked, counted = [i for i in inside if i.marks], [i for i in inside if LAYER_COUNT in i.counts]
    if not marked or not counted or any(item in marked for item in counted):
        return None
    ranked = sorted(inside, key=lambda item: -item.score)
    return _unsure(tower, "the lists marked as layers are not those that the config counts", ranked)


def _unsure(tower: str, reason: str, ranked: list[Candidate]) -> Doubt:
    options = tuple((item.path, item.length, item.evidence) for item in ranked)
    return Doubt(UNSURE, tower, reason, options, f"write the path, such as `{as_pattern(ranked[0].items)}`")


def _stack(item: Chosen) -> Stack:
    if item.staged:
        folders = list(dict.fromkeys(found.path for found in item.lists))
        layers = item.staged.layers
        repeated = f"{len(layers)} numbered modules in {', '.join(folders)}"
        evidence = (repeated, *item.evidence)
        return Stack(item.path, layers, evidence, stages=item.staged.modules, stage_sizes=item.staged.sizes)
    first, *more = item.lists
    folders = ", ".join(found.path or "the root" for found in item.lists)
    companions = tuple(zip(*(found.items for found in more), strict=True)) if more else ()
    repeated = f"{first.length} numbered modules in {folders}"
    return Stack(first.path, first.items, (repeated, *item.evidence), companions=companions)


def _with_others(
    tree: Tree, stacks: Sequence[Stack], lists: Lists, taken: Sequence[str] = ()
) -> tuple[Stack, ...]:
    """Return the main stacks and, in registration order, the other lists that look like some.

    ``taken`` are the paths that the main stacks take up, where these are more than their layers and stages.
    """
    places = {info.path: index for index, info in enumerate(tree.modules)}
    taken = taken or [path for stack in stacks for paths in (*stack.stages, *stack.spans) for path in paths]
    others = [item for item in outermost(_alike(lists)) if apart(item, taken)]
    extra = [replace(_stack(Chosen((item,), item.evidence)), main=False) for item in others]
    return tuple(sorted([*stacks, *extra], key=lambda stack: places[stack.layers[0]]))


def _with_marks(stack: Stack, lists: Lists) -> Stack:
    """Return a stack with what the library says of its list, where it is one list."""
    known = lists.get(stack.path)
    marked = known is not None and known.items == stack.layers
    return replace(stack, evidence=(*stack.evidence, *known.evidence)) if marked else stack


def _shared(tree: Tree, stack: Stack, item: Chosen, lengths: set[Count]) -> Stack:
    reason = tied_layers(tree, stack) or _repeated(item, lengths)
    return replace(stack, shared=reason) if reason else stack


def _lengths(lists: Lists, growths: tuple[Growth, ...]) -> set[Count]:
    """Return what is counted: the lengths of all lists, and the values that make lists longer."""
    return {item.length for item in lists.values()} | {growth.before for growth in growths}


def _repeated(item: Chosen, lengths: set[Count]) -> str | None:
    """Say that the config asks for more layers than any list has, and another value sets their number."""
    first = item.lists[0]
    asked = first.tower.counts.get(LAYER_COUNT)
    if not isinstance(asked, int) or item.staged or not item.attributes or asked <= first.length:
        return None
    if asked in lengths:
        return None
    return f"{LAYER_COUNT} = {asked} runs the {first.length} in `{first.path}` repeatedly"
