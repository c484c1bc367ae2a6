"""Every parameter accounted for, every rule of some use, every tied tensor of one mind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import counted
from freezeplan.plan import masks
from freezeplan.plan.binding import BoundRule, tensors_in
from freezeplan.plan.cascade import NOBODY, Cascade
from freezeplan.plan.collisions import covered
from freezeplan.plan.tree import NameTree, Node
from freezeplan.spec.locations import KeyPath, at_key


def uncovered(tree: NameTree, rules: Sequence[BoundRule]) -> list[Diagnostic]:
    """Report the parameters that get their state from no rule, as the fewest paths that name them all."""
    left = masks.full_mask(tree.size) & ~covered(rules)
    if not left:
        return []
    places = [_counted(tree, node) for node in _whole_nodes(tree, left)]
    count = len(tensors_in(tree, left))
    message = (
        f"{counted(count, 'parameter tensor')} {'gets its' if count == 1 else 'get their'} state from no rule"
    )
    advice = 'begin with a rule for all: match = "**", state = "frozen" (or "trainable")'
    path: KeyPath = ("rule", 0) if rules else ("rule",)
    return [at_key(path, "FP301", message, help=advice, notes=places)]


def _counted(tree: NameTree, node: Node) -> str:
    if node.param is not None:
        return f"`{node.path}`"
    count = len(tensors_in(tree, masks.mask_of([node], tree.size)))
    return f"`{node.path or '(the whole model)'}` ({counted(count, 'tensor')})"


def _whole_nodes(tree: NameTree, mask: int) -> Iterator[Node]:
    """Yield the topmost nodes all of whose parameters are in the set."""
    flags = mask.to_bytes(tree.size, "little")
    stack = [tree.root]
    while stack:
        node = stack.pop()
        count = flags.count(1, node.low, node.high)
        if count and count == node.high - node.low:
            yield node
        elif count:
            stack.extend(reversed(node.children.values()))


def dead_rules(
    tree: NameTree, rules: Sequence[BoundRule], decided: Sequence[Cascade], masked: bytes
) -> list[Diagnostic]:
    """Report rules that decide nothing in any phase (error), and single properties likewise (warning)."""
    useful = {
        (key, index)
        for phase in decided
        for key, winners in phase.winners.items()
        for index in _effective(key, winners, rules, masked)
    }
    found: list[Diagnostic] = []
    for rule in rules:
        idle = [key for key in rule.settings if (key, rule.index) not in useful]
        if not rule.mask or not idle:
            continue
        why = [_why_idle(tree, rule, key, rules, decided) for key in idle]
        if len(idle) == len(rule.settings):
            message, advice = (
                f"rule `{rule.name}` decides nothing",
                "remove it, or move it below the rule that shadows it",
            )
            found.append(at_key((*rule.path, "match"), "FP304", message, help=advice, notes=why))
        else:
            found += [_idle_property(rule, key, reason) for key, reason in zip(idle, why, strict=True)]
    return found


def _idle_property(rule: BoundRule, key: str, reason: str) -> Diagnostic:
    written = rule.settings[key].key
    message = f"`{written}` of rule `{rule.name}` decides nothing"
    return at_key((*rule.path, written), "FP307", message, help="remove the key", notes=[reason])


def _effective(key: str, winners: list[int], rules: Sequence[BoundRule], masked: bytes) -> set[int]:
    if key != "weight_decay":
        return set(winners) - {NOBODY}
    pairs = zip(winners, masked, strict=True)
    return {
        index
        for index, hidden in set(pairs)
        if index != NOBODY and (not hidden or rules[index].overrides("no_decay"))
    }


def _why_idle(
    tree: NameTree,
    rule: BoundRule,
    key: str,
    rules: Sequence[BoundRule],
    decided: Sequence[Cascade],
) -> str:
    positions = list(masks.positions_of(rule.mask, tree.size))
    phases = decided[max(rule.phase, 0) :]
    winners = {phase.winners[key][position] for phase in phases for position in positions}
    others = [rules[index] for index in sorted(winners) if index != rule.index]
    if not others:
        written = rule.settings[key].key
        return f'`{written}`: `no_decay` masks all of it; write override = ["no_decay"] to pierce the mask'
    names = ", ".join(f"`{other.name}`{_at(other)}" for other in others)
    return f"`{rule.settings[key].key}`: decided by {names}"


def _at(rule: BoundRule) -> str:
    return f" ({rule.place})" if rule.place else ""
