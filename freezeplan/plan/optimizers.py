"""What each optimizer of torch.optim takes and keeps, from a generated table (no torch needed)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from math import prod
from typing import Any

from freezeplan.diagnostics import Diagnostic
from freezeplan.diagnostics.wording import closest, quoted
from freezeplan.plan.binding import OPTION_NAMES, BoundRule
from freezeplan.plan.records import Group, Options
from freezeplan.spec.locations import at_key
from freezeplan.spec.tables import Spec


@dataclass(frozen=True)
class OptimizerFacts:
    """One row of the table that ``python -m tools.optimizer_table`` writes.

    ``groups``: takes several parameter groups. ``demand``: what it asks of its parameters, in words
    (empty: nothing). ``copies``: tensors of the parameter's own size kept per parameter; ``extra``
    adds to it for an option that is on; ``scalars``: further bytes per tensor; ``factored``: keeps
    one row and one column instead of the whole for two and more dimensions.
    """

    name: str
    groups: bool
    demand: str
    options: dict[str, Any]
    copies: int
    scalars: int
    extra: dict[str, int]
    factored: bool

    @property
    def has_weight_decay(self) -> bool:
        """Whether the optimizer knows weight decay."""
        return "weight_decay" in self.options

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
    return {**row, "options": options}


def find_optimizer(spec: Spec) -> tuple[OptimizerFacts | None, list[Diagnostic]]:
    """Return the facts of the spec's optimizer, or a diagnostic that lists what there is."""
    table = optimizer_table()
    facts = table.get(spec.optimizer.name.lower())
    if facts is None:
        advice = closest(spec.optimizer.name.lower(), table) or f"torch.optim has {quoted(table)}"
        message = f"torch.optim has no optimizer `{spec.optimizer.name}`"
        return None, [at_key(("optimizer", "name"), "FP401", message, help=advice)]
    return facts, []


def option_problems(spec: Spec, facts: OptimizerFacts, rules: Sequence[BoundRule]) -> list[Diagnostic]:
    """Report options (and weight decay) that the optimizer does not know."""
    asked = [
        (("optimizer",), key) for key in (*OPTION_NAMES, "weight_decay") if _written(spec.optimizer, key)
    ]
    asked += [
        (rule.path, key) for rule in rules for key in rule.settings if key in (*OPTION_NAMES, "weight_decay")
    ]
    return [_unknown_option(facts, (*path, key)) for path, key in asked if key not in facts.options]


def _written(table: Any, key: str) -> bool:
    return key in table.model_fields_set and bool(getattr(table, key) or key != "weight_decay")


def _unknown_option(facts: OptimizerFacts, path: tuple[str | int, ...]) -> Diagnostic:
    known = quoted(key for key in facts.options if key in (*OPTION_NAMES, "weight_decay"))
    message = f"{facts.name} has no option `{path[-1]}`"
    return at_key(path, "FP403", message, help=f"its options are {known}" if known else "it has no options")


def demand_problems(
    facts: OptimizerFacts, groups: Sequence[Group], shapes: dict[str, tuple[int, ...]]
) -> list[Diagnostic]:
    """Report plans that the optimizer cannot take: several groups, or parameters of a wrong kind."""
    place = ("optimizer", "name")
    if not facts.groups and len(groups) > 1:
        message = f"{facts.name} takes one parameter group; this plan has {len(groups)}"
        return [at_key(place, "FP402", message, help="use another optimizer, such as `adamw`")]
    if idle := [group.name for group in groups if _nesterov_without_momentum(dict(group.options[0]))]:
        message = f"{facts.name}'s nesterov needs a momentum and no dampening; group `{idle[0]}` has neither"
        return [at_key(place, "FP402", message, help="set momentum = 0.9, or leave nesterov out")]
    wrong = _wrong_shapes(facts, groups, shapes)
    if wrong:
        message = f"{facts.name} takes {facts.demand}; {len(wrong)} trainable tensors are not"
        advice = "freeze them, or use another optimizer, such as `adamw`"
        return [at_key(place, "FP402", message, help=advice, notes=[f"for example `{wrong[0]}`"])]
    return []


def _nesterov_without_momentum(options: dict[str, Any]) -> bool:
    """torch checks this for the optimizer's defaults only, not for a group's own options."""
    return bool(options.get("nesterov")) and (not options.get("momentum") or bool(options.get("dampening")))


def _wrong_shapes(
    facts: OptimizerFacts, groups: Iterable[Group], shapes: dict[str, tuple[int, ...]]
) -> list[str]:
    if facts.demand == "sparse gradients only":
        return [name for group in groups for name in group.members]
    if facts.demand == "2-D parameters only":
        return [name for group in groups for name in group.members if len(shapes[name]) != 2]
    return []
