"""Which optimizer has which parameter: those of the tables that match it, else that of ``[optimizer]``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from freezeplan.diagnostics import Diagnostic, KeyPath
from freezeplan.diagnostics.wording import counted, some
from freezeplan.plan import masks
from freezeplan.plan.binding import OPTION_NAMES, BoundRule, selected, tensors_in
from freezeplan.plan.optimizers import (
    OptimizerFacts,
    find_optimizer,
    option_problems,
    rule_option_problems,
    unknown_optimizer,
)
from freezeplan.plan.records import Options, PlannedOptimizer
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import at_key
from freezeplan.spec.tables import NamedOptimizer, OptimizerTable, Spec


@dataclass(frozen=True)
class Owner:
    """An optimizer with the names it has (a mask over tree positions), its table and what is known of it.

    ``written`` holds the options that its table sets.
    """

    planned: PlannedOptimizer
    facts: OptimizerFacts
    path: KeyPath
    mask: int
    written: dict[str, Any]
    table: NamedOptimizer | OptimizerTable


def bind_optimizers(
    spec: Spec, tree: NameTree, rules: Sequence[BoundRule]
) -> tuple[tuple[Owner, ...], list[Diagnostic]]:
    """Return the optimizers of a spec, that of ``[optimizer]`` first, and what is wrong with them.

    There are none where torch has no optimizer of a name.
    """
    tables: list[NamedOptimizer | OptimizerTable] = [spec.optimizer, *spec.optimizer.named.values()]
    paths: list[KeyPath] = [("optimizer",), *(("optimizer", name) for name in spec.optimizer.named)]
    facts = [find_optimizer(table) for table in tables]
    unknown = [
        unknown_optimizer(table.name or "", path)
        for table, path, found in zip(tables, paths, facts, strict=True)
        if found is None
    ]
    asked, problems = _masks(spec, tree)
    if unknown:
        return (), [*problems, *unknown]
    in_rules = {key for rule in rules for key in rule.settings if key in OPTION_NAMES}
    owners = tuple(
        _owner(spec, table, path, found, mask, in_rules)
        for table, path, found, mask in zip(tables, paths, facts, asked, strict=True)
        if found is not None
    )
    for owner, table in zip(owners, tables, strict=True):
        problems += option_problems(owner.facts, table, owner.path)
    for rule in rules:
        problems += rule_option_problems([own.facts for own in owners if own.mask & rule.mask], rule)
    return owners, problems


def _masks(spec: Spec, tree: NameTree) -> tuple[list[int], list[Diagnostic]]:
    """Return the names of each optimizer: those of ``[optimizer]``, then those of the tables in it."""
    named, problems = {}, []
    for name, table in spec.optimizer.named.items():
        named[name], found = selected(tree, table.match, table.except_, ("optimizer", name), optional=False)
        problems += found
    if not problems:
        problems = [*_overlaps(tree, named), *_parted_ties(tree, named)]
    rest = masks.full_mask(tree.size)
    for mask in named.values():
        rest &= ~mask
    return [rest, *named.values()], problems


def _overlaps(tree: NameTree, named: dict[str, int]) -> Iterator[Diagnostic]:
    for (first, one), (second, other) in combinations(named.items(), 2):
        if shared := tensors_in(tree, one & other):
            count = counted(len(shared), "tensor")
            message = f"`optimizer.{first}` and `optimizer.{second}` both match {count}"
            notes = [f"both match {some([info.name for info in shared], 3)}"]
            place = ("optimizer", second, "match")
            yield at_key(place, "FP420", message, help="take them out of one with `except`", notes=notes)


def _parted_ties(tree: NameTree, named: dict[str, int]) -> Iterator[Diagnostic]:
    params = tree.inventory.params
    tied: dict[str, list[int]] = {}
    for position, index in enumerate(tree.order):
        tied.setdefault(params[index].alias_of or params[index].name, []).append(position)
    several = {name: places for name, places in tied.items() if len(places) > 1}
    for label, mask in named.items():
        flags = mask.to_bytes(tree.size, "little")
        for places in several.values():
            names = [params[tree.order[at]].name for at in places]
            hit = [name for name, at in zip(names, places, strict=True) if flags[at]]
            if 0 < len(hit) < len(names):
                message = (
                    f"{some(names, 3)} are one tied tensor, and `optimizer.{label}` matches {some(hit, 3)}"
                )
                advice = "match all of its names, or take them out with `except`"
                yield at_key(("optimizer", label, "match"), "FP420", message, help=advice)


def _owner(
    spec: Spec,
    table: NamedOptimizer | OptimizerTable,
    path: KeyPath,
    facts: OptimizerFacts,
    mask: int,
    in_rules: set[str],
) -> Owner:
    written = {key: _plain(getattr(table, key)) for key in OPTION_NAMES if getattr(table, key) is not None}
    # What one from elsewhere has by default is its own affair: None stands for it.
    defaults = facts.options if facts.known else dict.fromkeys((*written, *in_rules))
    options = {key: written.get(key, value) for key, value in defaults.items() if key in OPTION_NAMES}
    decay = spec.optimizer.weight_decay if table.weight_decay is None else table.weight_decay
    planned = PlannedOptimizer(
        label=str(path[1]) if len(path) > 1 else "",
        name=facts.name,
        lr=spec.optimizer.lr if table.lr is None else table.lr,
        weight_decay=decay if facts.has_weight_decay else 0.0,
        options=tuple(sorted(options.items())),
        arguments=_arguments(table),
        decays=facts.has_weight_decay,
    )
    return Owner(planned, facts, path, mask, written, table)


def _arguments(table: NamedOptimizer | OptimizerTable) -> Options:
    return tuple((key, _plain(value)) for key, value in sorted(table.options.items()))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def owner_of_each(owners: Sequence[Owner], size: int) -> list[int]:
    """Return the place of each name's optimizer among all of them, in tree order."""
    found = [0] * size
    for place, owner in enumerate(owners[1:], 1):
        for position in masks.positions_of(owner.mask, size):
            found[position] = place
    return found
