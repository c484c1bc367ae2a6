"""What each optimizer of torch.optim takes and keeps, from a generated table (no torch needed)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from math import prod
from typing import Any

from freezeplan.diagnostics import Diagnostic, KeyPart, KeyPath
from freezeplan.diagnostics.wording import closest, quoted, some
from freezeplan.inventory.records import ParamInfo
from freezeplan.plan.binding import OPTION_NAMES, BoundRule
from freezeplan.plan.records import Group, Options
from freezeplan.spec.locations import at_key
from freezeplan.spec.tables import NamedOptimizer, OptimizerTable


@dataclass(frozen=True)
class OptimizerFacts:
    """One row of the table that ``python -m tools.optimizer_table`` writes.

    ``groups``: takes several parameter groups. ``demand``: what it asks of its parameters, in words
    (empty: nothing). ``sparse``: takes sparse gradients; ``sparse_decay``: with weight decay, too. ``copies``:
    tensors of the parameter's own size kept per parameter; ``extra`` adds to it for an option that is on;
    ``scalars``: further bytes per tensor; ``factored``: keeps one row and one column instead of the whole for two
    and more dimensions; ``arguments``: what its constructor takes besides options and rate. Of one from elsewhere
    nothing is ``known`` until it is built.
    """

    name: str
    groups: bool
    demand: str
    sparse: bool
    sparse_decay: bool
    options: dict[str, Any]
    copies: int
    scalars: int
    extra: dict[str, int]
    factored: bool
    arguments: tuple[str, ...] = ()
    known: bool = True

    @property
    def has_weight_decay(self) -> bool:
        """Whether the optimizer knows weight decay; of one from elsewhere it is found when it is built."""
        return "weight_decay" in self.options or not self.known

    def state_bytes(self, shape: tuple[int, ...], itemsize: int, options: Options) -> int:
        """Return the bytes of optimizer state for one tensor, once it has taken a step."""
        copies = self.copies + sum(self.extra.get(key, 0) for key, value in options if value)
        numel = prod(shape)
        if self.factored and len(shape) > 1:
            numel = numel // shape[-1] + numel // shape[-2]
        return copies * numel * itemsize + self.scalars


@lru_cache(maxsize=1)
def optimizer_table() -> dict[str, OptimizerFacts]:
    """Return the facts of every optimizer, by lower-case name."""
    text = (files("freezeplan.plan") / "optimizers.json").read_text("utf-8")
    rows = json.loads(text)["optimizers"]
    return {row["name"].lower(): OptimizerFacts(**_tuples(row)) for row in rows}


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    options = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row["options"].items()
    }
    return {**row, "options": options, "arguments": tuple(row["arguments"])}


def find_optimizer(table: NamedOptimizer | OptimizerTable) -> OptimizerFacts | None:
    """Return the facts of the optimizer that a table names, or None where torch has none of its name."""
    if table.class_ is not None:
        return OptimizerFacts(table.class_, True, "", True, True, {}, 0, 0, {}, False, known=False)
    return optimizer_table().get((table.name or "").lower())


def unknown_optimizer(name: str, path: KeyPath) -> Diagnostic:
    """Return a diagnostic that lists what torch.optim has."""
    table = optimizer_table()
    known = closest(name.lower(), table) or f"torch.optim has {quoted(table)}"
    advice = f'{known}; one from elsewhere is `class = "MODULE:CLASS"`'
    return at_key((*path, "name"), "FP401", f"torch.optim has no optimizer `{name}`", help=advice)


def option_problems(facts: OptimizerFacts, table: Any, path: KeyPath) -> Iterator[Diagnostic]:
    """Yield a problem for each option, and each argument, in an optimizer's table that it does not know."""
    if not facts.known:
        return
    for key in (*OPTION_NAMES, "weight_decay"):
        if _is_written(table, key) and key not in facts.options:
            yield _unknown_option(facts, (*path, key))
    for key in table.options:
        if key in OPTION_NAMES and key in facts.options:
            message = f"`{key}` is a key of the optimizer's table: it has its own value in each group"
            advice = f"write `{key}` beside `options`, and not in it"
            yield at_key((*path, "options", key), "FP422", message, help=advice, part=KeyPart.KEY)
        elif key not in facts.arguments:
            message = f"{facts.name} takes no `{key}`"
            advice = closest(key, facts.arguments) or f"it takes {quoted(facts.arguments)}"
            yield at_key((*path, "options", key), "FP422", message, help=advice, part=KeyPart.KEY)


def rule_option_problems(facts: Sequence[OptimizerFacts], rule: BoundRule) -> Iterator[Diagnostic]:
    """Yield a problem for each option in a rule that one of the optimizers of its tensors does not know."""
    for key in rule.settings:
        if key in (*OPTION_NAMES, "weight_decay"):
            without = next((item for item in facts if item.known and key not in item.options), None)
            if without is not None:
                yield _unknown_option(without, (*rule.path, rule.settings[key].key))


def _is_written(table: Any, key: str) -> bool:
    return key in table.model_fields_set and bool(getattr(table, key) or key != "weight_decay")


def _unknown_option(facts: OptimizerFacts, path: KeyPath) -> Diagnostic:
    known = quoted(key for key in facts.options if key in (*OPTION_NAMES, "weight_decay"))
    message = f"{facts.name} has no option `{path[-1]}`"
    return at_key(path, "FP403", message, help=f"its options are {known}" if known else "it has no options")


def demand_problems(
    facts: OptimizerFacts, path: KeyPath, groups: Sequence[Group], tensors: Mapping[str, ParamInfo]
) -> list[Diagnostic]:
    """Report plans that the optimizer cannot take: several groups, or parameters of a wrong kind."""
    place = (*path, "name")
    if not facts.groups and len(groups) > 1:
        message = f"{facts.name} takes one parameter group; this plan has {len(groups)}"
        return [at_key(place, "FP402", message, help="use another optimizer, such as `adamw`")]
    if idle := [group.name for group in groups if _nesterov_without_momentum(dict(group.options[0]))]:
        message = f"{facts.name}'s nesterov needs a momentum and no dampening; group `{idle[0]}` has neither"
        return [at_key(place, "FP402", message, help="set momentum = 0.9, or leave nesterov out")]
    if sparse := _unfit_sparse(facts, groups, tensors):
        what = "no sparse gradients" if not facts.sparse else "no weight decay with sparse gradients"
        message = (
            f"{facts.name} takes {what}, which {some(sparse, 3)} {'has' if len(sparse) == 1 else 'have'}"
        )
        advice = (
            'give it a table of its own with `name = "sparseadam"`, or build the embedding with sparse=False'
        )
        return [at_key(place, "FP429", message, help=advice)]
    wrong = _unfit(facts, groups, tensors)
    if wrong:
        message = f"{facts.name} takes {facts.demand}; {len(wrong)} trainable tensors are not"
        notes = [f"for example {some(wrong, 3)}"]
        return [at_key(place, "FP402", message, help=_way_out(path), notes=notes)]
    return []


def _way_out(path: KeyPath) -> str:
    """Say how some tensors get another optimizer: from `[optimizer]`, or from a table of some of them."""
    if len(path) > 1:
        return "take them out with `except`: `[optimizer]` has all others"
    advice = "freeze them, use another optimizer, such as `adamw`, or give this one a table of its own"
    return f"{advice}: `[optimizer.NAME]` with `match`"


def _nesterov_without_momentum(options: dict[str, Any]) -> bool:
    """torch checks this for the optimizer's defaults only, not for a group's own options."""
    return bool(options.get("nesterov")) and (not options.get("momentum") or bool(options.get("dampening")))


def _unfit(facts: OptimizerFacts, groups: Iterable[Group], tensors: Mapping[str, ParamInfo]) -> list[str]:
    names = [name for group in groups for name in group.members]
    if facts.demand == "sparse gradients only":
        return [name for name in names if not tensors[name].sparse]
    if facts.demand == "2-D parameters only":
        return [name for name in names if len(tensors[name].shape) != 2]
    return []


def _unfit_sparse(
    facts: OptimizerFacts, groups: Iterable[Group], tensors: Mapping[str, ParamInfo]
) -> list[str]:
    """Name the tensors of sparse gradients that the optimizer cannot step."""
    return [
        name
        for group in groups
        for name in group.members
        if tensors[name].sparse and not (facts.sparse_decay if any(group.weight_decay) else facts.sparse)
    ]
