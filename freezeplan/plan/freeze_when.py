"""`[freeze_when]`: a stack frozen from the bottom as soon as its layers hardly change, written out as phases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.diagnostics.wording import counted
from freezeplan.inventory.records import Stack
from freezeplan.plan import masks
from freezeplan.plan.binding import bind_rules
from freezeplan.plan.gradual import Rungs, ladders_of, mask_of_paths, numbers_text, word_for
from freezeplan.plan.layout import PhaseRule, Stage
from freezeplan.plan.modes import feeds
from freezeplan.plan.records import Length
from freezeplan.plan.tree import NameTree
from freezeplan.spec.keys import EGERIA
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.tables import FreezeWhen, Rule, Spec

TABLE: KeyPath = ("freeze_when",)
OVER: KeyPath = ("freeze_when", "over")
MOVING = "moving"
START = "all that the rules train"


def freezing_phases(
    spec: Spec, tree: NameTree, when: FreezeWhen
) -> tuple[tuple[Stage, ...], list[Diagnostic]]:
    """Return the phases that ``[freeze_when]`` stands for, and what was wrong with it.

    One in which nothing is frozen beyond the rules, then one more for every ``per_phase`` layers from the bottom, up to
    the ``keep`` layers at the top. What feeds the stack (what is registered before it, and embeddings) freezes with
    its first layer, and so does a head's tensor that is tied to it. What the rules keep frozen anyway makes no phase.
    Which of the phases are reached, and when, the run decides; they last ``train.epochs`` together.
    """
    ladders, problems = ladders_of(tree, when.over, OVER)
    if not problems and len(ladders) != 1:
        paths = [stack.path for stack, _ in ladders]
        message = f"`over` names {counted(len(paths), 'stack')}: one freezes from the bottom, not several"
        advice = f"put the path of one in front: `{paths[0]}.@layers`"
        problems.append(at_key(OVER, "FP219", message, help=advice, part=KeyPart.KEY))
    if problems:
        return (), problems
    ((stack, rungs),) = ladders
    keep = when.keep or -(-len(rungs) // 2)
    problems += _none_to_freeze(keep, len(rungs), written=when.keep is not None)
    problems += _too_short(when.rule, spec.train.epochs)
    stages = () if problems else _stages(spec, tree, when, stack, rungs[: len(rungs) - keep])
    if len(stages) == 1:
        message = "the rules keep frozen all that could freeze"
        advice = "let layers train that are to freeze later, or remove the table"
        problems.append(at_key(TABLE, "FP219", message, help=advice, part=KeyPart.HEADER))
    return stages, problems


def _none_to_freeze(keep: int, layers: int, *, written: bool) -> Iterator[Diagnostic]:
    if layers <= keep:
        message = f"`keep = {keep}` leaves none of {counted(layers, 'layer')} to freeze"
        place = (*TABLE, "keep") if written else TABLE
        part = KeyPart.VALUE if len(place) > 1 else KeyPart.HEADER
        yield at_key(place, "FP219", message, help="keep fewer, or remove the table", part=part)


def _too_short(rule: str, epochs: int) -> Iterator[Diagnostic]:
    """Report a run that is over before its rule can have seen enough."""
    if epochs == 1:
        message = "nothing freezes in a run of one epoch: layers freeze between epochs"
        yield at_key(TABLE, "FP219", message, help="train more epochs", part=KeyPart.HEADER)
    elif rule == EGERIA and epochs == 2:
        message = "nothing freezes by `egeria` in a run of two epochs: it holds the second against the first"
        advice = 'train 3 epochs or more, or write rule = "autofreeze"'
        yield at_key(TABLE, "FP219", message, help=advice, part=KeyPart.HEADER)


def _stages(spec: Spec, tree: NameTree, when: FreezeWhen, stack: Stack, rungs: Rungs) -> tuple[Stage, ...]:
    length, trained = Length(MOVING, spec.train.epochs), _trained(spec, tree)
    stages = [Stage(START, TABLE, length)]
    for end in range(when.per_phase, len(rungs) + when.per_phase, when.per_phase):
        row = rungs[end - when.per_phase : end]
        name = f"{_called(when, rungs[:end])} frozen"
        rule = _rule(tree, stack, name, row, first=end == when.per_phase)
        if rule.mask is not None and rule.mask & trained:
            stages.append(Stage(name, TABLE, length, (rule,)))
    return tuple(stages)


def _trained(spec: Spec, tree: NameTree) -> int:
    """Return the set of what the rules do not keep frozen; what is wrong with them is said elsewhere."""
    trained = masks.full_mask(tree.size)
    for rule in bind_rules(spec, tree)[0]:
        state = rule.settings.get("state")
        if state is not None:
            trained = trained & ~rule.mask if state.value == "frozen" else trained | rule.mask
    return trained


def _called(when: FreezeWhen, rungs: Rungs) -> str:
    word = word_for(when.over)
    return f"{word.removesuffix('s') if len(rungs) == 1 else word} {numbers_text([at for at, _ in rungs])}"


def _rule(tree: NameTree, stack: Stack, name: str, row: Rungs, *, first: bool) -> PhaseRule:
    paths = [path for _, found in row for path in found]
    mask = mask_of_paths(tree, paths)
    if first:
        mask |= masks.mask_of_positions(_below(tree, stack), tree.size)
    shown = [*(["what feeds them"] if first else []), *paths]
    return PhaseRule(Rule(name=name, match=shown, state="frozen"), OVER, mask)


def _below(tree: NameTree, stack: Stack) -> Sequence[int]:
    """Return the tree positions of what feeds a stack, under all names that a tied tensor has."""
    begin = tree.by_path[stack.layers[0]].low
    params = [tree.inventory.params[index] for index in tree.order]
    below = {info.alias_of or info.name for at, info in enumerate(params) if at < begin or feeds(info)}
    return [at for at, info in enumerate(params) if (info.alias_of or info.name) in below]
