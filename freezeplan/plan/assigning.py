"""From deciding rules to numbers: state, learning rate, weight decay and options of each name."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from freezeplan.plan.binding import BoundRule, decay_of
from freezeplan.plan.cascade import NOBODY, Cascade
from freezeplan.plan.layer_decay.steps import Step
from freezeplan.plan.owners import Owner
from freezeplan.plan.rates import ONE, exact, product
from freezeplan.plan.records import Assignment, PlannedOptimizer

UNNAMED = "(no rule)"


NO_STEP = Step(ONE, "")


def assign(
    owners: Sequence[Owner],
    owned: Sequence[int],
    rules: Sequence[BoundRule],
    decided: Cascade,
    masked: bytes,
    steps: Sequence[Step | None],
) -> list[Assignment]:
    """Return one assignment per name, in tree order.

    ``owned`` holds the place of each name's optimizer among ``owners``. The learning rate of a parameter is
    decided here and nowhere else: the rule's absolute rate, or the optimizer's base rate x ``lr_mult``, or the
    base rate; times the factor of its step on the ladder, if any.
    """
    keys = tuple(decided.winners)
    known: dict[tuple[tuple[int, ...], int, Step | None, int], Assignment] = {}
    found = []
    for signature in zip(decided.signatures(), masked, steps, owned, strict=True):
        if signature not in known:
            winners = {
                key: rules[index] for key, index in zip(keys, signature[0], strict=True) if index != NOBODY
            }
            owner = owners[signature[3]].planned
            known[signature] = _assignment(owner, winners, bool(signature[1]), signature[2])
        found.append(known[signature])
    return found


def _assignment(
    owner: PlannedOptimizer, winners: dict[str, BoundRule], masked: bool, step: Step | None
) -> Assignment:
    values = {key: rule.settings[key].value for key, rule in winners.items()}
    state = values.get("state", "frozen")
    pierced = "weight_decay" in winners and winners["weight_decay"].overrides("no_decay")
    # Without weight decay there is nothing to mask: the mask must not part a group, of which LBFGS takes one.
    masked = masked and not pierced and owner.decays
    rung = step if step is not None and state == "trainable" else NO_STEP
    return Assignment(
        state=state,
        lr=_rate(owner.lr, winners.get("lr"), rung.factor) if state == "trainable" else 0.0,
        weight_decay=0.0 if masked else _decay(owner.weight_decay, winners.get("weight_decay")),
        options=tuple((key, values.get(key, default)) for key, default in owner.options),
        decided=tuple((key, rule.name) for key, rule in winners.items()),
        masked=masked,
        rule=max(winners.values(), key=lambda rule: rule.index).name if winners else UNNAMED,
        eval_mode=values.get("eval_mode", True),
        decay=float(rung.factor),
        rung=rung.label,
        optimizer=owner.label,
    )


def _decay(base: float, rule: BoundRule | None) -> float:
    return base if rule is None else decay_of(rule.rule, base)


def _rate(base: float, rule: BoundRule | None, factor: Decimal) -> float:
    """Return the rate that a rule writes, times a factor, rounded once."""
    if rule is None:
        return float(product(exact(base), factor))
    if rule.rule.lr is not None:
        return float(product(exact(rule.rule.lr), factor))
    return float(product(exact(base), exact(rule.rule.lr_mult or 1.0), factor))
