"""From deciding rules to numbers: state, learning rate, weight decay and options of each name."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from freezeplan.plan.binding import OPTION_NAMES, BoundRule
from freezeplan.plan.cascade import NOBODY, Cascade
from freezeplan.plan.layer_decay.steps import Step
from freezeplan.plan.optimizers import OptimizerFacts
from freezeplan.plan.rates import ONE, exact, product
from freezeplan.plan.records import Assignment, Options
from freezeplan.spec.tables import Spec

UNNAMED = "(no rule)"


NO_STEP = Step(ONE, "")


def assign(
    spec: Spec,
    facts: OptimizerFacts,
    rules: Sequence[BoundRule],
    decided: Cascade,
    masked: bytes,
    steps: Sequence[Step | None],
) -> list[Assignment]:
    """Return one assignment per name, in tree order.

    The learning rate of a parameter is decided here and nowhere else: the rule's absolute rate, or
    base rate x ``lr_mult``, or the base rate; times the factor of its step on the ladder, if any.
    """
    keys = tuple(decided.winners)
    base = base_options(spec, facts)
    known: dict[tuple[tuple[int, ...], int, Step | None], Assignment] = {}
    found = []
    for signature in zip(decided.signatures(), masked, steps, strict=True):
        if signature not in known:
            winners = {
                key: rules[index] for key, index in zip(keys, signature[0], strict=True) if index != NOBODY
            }
            known[signature] = _assignment(spec, facts, base, winners, bool(signature[1]), signature[2])
        found.append(known[signature])
    return found


def base_options(spec: Spec, facts: OptimizerFacts) -> dict[str, Any]:
    """Return the options of ``[optimizer]`` over the optimizer's own defaults, by name."""
    given = written_options(spec)
    return {key: given.get(key, default) for key, default in facts.options.items() if key in OPTION_NAMES}


def written_options(spec: Spec) -> dict[str, Any]:
    """Return the options that ``[optimizer]`` sets, by name."""
    values = {key: getattr(spec.optimizer, key) for key in OPTION_NAMES}
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in values.items()
        if value is not None
    }


def base_weight_decay(spec: Spec, facts: OptimizerFacts) -> float:
    """Return the weight decay that no rule changed; 0 for optimizers that have none."""
    return spec.optimizer.weight_decay if facts.has_weight_decay else 0.0


def _assignment(
    spec: Spec,
    facts: OptimizerFacts,
    base: dict[str, Any],
    winners: dict[str, BoundRule],
    masked: bool,
    step: Step | None,
) -> Assignment:
    values = {key: rule.settings[key].value for key, rule in winners.items()}
    state = values.get("state", "frozen")
    pierced = "weight_decay" in winners and winners["weight_decay"].overrides("no_decay")
    # Without weight decay there is nothing to mask: the mask must not part a group, of which LBFGS takes one.
    masked = masked and not pierced and facts.has_weight_decay
    rung = step if step is not None and state == "trainable" else NO_STEP
    return Assignment(
        state=state,
        lr=_rate(spec.optimizer.lr, winners.get("lr"), rung.factor) if state == "trainable" else 0.0,
        weight_decay=0.0 if masked else values.get("weight_decay", base_weight_decay(spec, facts)),
        options=_options(base, values),
        decided=tuple((key, rule.name) for key, rule in winners.items()),
        masked=masked,
        rule=max(winners.values(), key=lambda rule: rule.index).name if winners else UNNAMED,
        eval_mode=values.get("eval_mode", True),
        decay=float(rung.factor),
        rung=rung.label,
    )


def _rate(base: float, rule: BoundRule | None, factor: Decimal) -> float:
    """Return the rate that a rule writes, times a factor, rounded once."""
    if rule is None:
        return float(product(exact(base), factor))
    if rule.rule.lr is not None:
        return float(product(exact(rule.rule.lr), factor))
    return float(product(exact(base), exact(rule.rule.lr_mult or 1.0), factor))


def _options(base: dict[str, Any], values: dict[str, Any]) -> Options:
    return tuple((key, values.get(key, default)) for key, default in sorted(base.items()))
