"""Plans made by hand, small enough to check by eye."""

from __future__ import annotations

from math import prod

from freezeplan.plan.records import (
    Assignment,
    FrozenPrefix,
    FrozenSet,
    Group,
    Phase,
    Plan,
    PlannedOptimizer,
    PlannedParam,
)

FROZEN = Assignment("frozen", 0.0, 0.0, (), (("state", "everything"),), False, "everything")
UPPER = Assignment("trainable", 1e-5, 0.01, (), (("state", "upper"), ("lr", "upper")), False, "upper")
MASKED = Assignment("trainable", 1e-5, 0.0, (), (("state", "upper"), ("lr", "upper")), True, "upper")
HEADS = Assignment("trainable", 2e-4, 0.01, (), (("state", "heads"), ("lr", "heads")), False, "heads")

PARAMS = {
    "backbone.embeddings.word_embeddings.weight": ((30522, 768), None, FROZEN),
    "backbone.transformer.layer.0.attention.q_lin.weight": ((768, 768), 0, FROZEN),
    "backbone.transformer.layer.1.attention.q_lin.weight": ((768, 768), 1, UPPER),
    "backbone.transformer.layer.1.attention.q_lin.bias": ((768,), 1, MASKED),
    "heads.sentiment.linear.weight": ((2, 768), None, HEADS),
}
ALIASES = {"backbone.embeddings.word_embeddings.weight": ("lm_head.weight",)}


def small_plan(**changes: object) -> Plan:
    """Return a plan of five tensors: two frozen, one group of two numbers, one head."""
    values: dict[str, object] = {
        "model": "distilbert-base-uncased",
        "origin": "architecture defaults",
        "base": "backbone",
        "optimizers": (PlannedOptimizer("", "adamw", 2e-5, 0.01),),
        "params": tuple(_param(name) for name in PARAMS),
        "phases": (_phase(),),
        "groups": (
            _group("heads", "heads", HEADS),
            _group("upper/no_decay", "@layers[-2:]", MASKED),
            _group("upper", "@layers[-2:]", UPPER),
        ),
        "frozen": (FrozenSet("everything", "**", _members(FROZEN), _size(_members(FROZEN))),),
    }
    return Plan(**{**values, **changes})


def _param(name: str) -> PlannedParam:
    shape, layer, _ = PARAMS[name]
    return PlannedParam(name, ALIASES.get(name, ()), shape, "float32", prod(shape), layer)


def _members(what: Assignment) -> tuple[str, ...]:
    return tuple(name for name, (_, _, own) in PARAMS.items() if own is what)


def _size(names: tuple[str, ...]) -> int:
    return sum(prod(PARAMS[name][0]) for name in names)


def _group(name: str, selected_by: str, what: Assignment) -> Group:
    members = _members(what)
    numbers = (what.lr,), (what.weight_decay,), ((),)
    return Group(name, what.rule, selected_by, members, _size(members), *numbers)


def _phase() -> Phase:
    trainable = sum(prod(shape) for shape, _, what in PARAMS.values() if what.trainable)
    return Phase(
        name="train",
        assignments=tuple(what for _, _, what in PARAMS.values()),
        eval_modules=("backbone.embeddings", "backbone.transformer.layer.0"),
        kept_in_train_mode=(),
        frozen_prefix=FrozenPrefix("backbone.transformer.layer", 1, 2),
        trainable_numel=trainable,
        optimizer_state_bytes=8 * trainable,
    )
