"""The numbers that other tools' own tests expect, from our specs over the same parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from freezeplan.inventory.records import Inventory
from freezeplan.inventory.roles import with_structure
from freezeplan.inventory.structure import Hints
from freezeplan.plan.records import Plan
from tests.plan.matching import assignments, codes_of, compiled, named, rule, sized

LEFT_OUT = {
    "mmpretrain-layer-decay": "layer decay is not part of the language yet",
    "allennlp-stlr": "slanted triangular schedules over phases are not part of the language yet",
}


@pytest.fixture(scope="module")
def cases(shared: Path) -> dict[str, Any]:
    """Return the cases by their id."""
    found = json.loads((shared / "conformance" / "peer_cases.json").read_text("utf-8"))
    return {case["id"]: case for case in found}


def test_every_case_is_checked_or_left_out_for_a_reason(cases: dict[str, Any]) -> None:
    checked = {"mmengine-paramwise", "mmengine-custom-keys-longest-wins", "automodel-router"}
    assert cases.keys() == checked | LEFT_OUT.keys()


def model_of(case: dict[str, Any]) -> Inventory:
    """Return the inventory of a case's parameters; roles are found from their classes."""
    classes = {name.rpartition(".")[0]: kind for name, _, kind in case["params"]}
    bare = sized({name: tuple(shape) for name, shape, _ in case["params"]}, classes=classes)
    return with_structure(bare, Hints())


def numbers(plan: Plan) -> dict[str, dict[str, float]]:
    """Return the rate and the weight decay of each tensor."""
    return {name: {"lr": a.lr, "weight_decay": a.weight_decay} for name, a in assignments(plan).items()}


def test_mmengine_multipliers_by_kind_of_parameter(cases: dict[str, Any]) -> None:
    case = cases["mmengine-paramwise"]
    plan = compiled(
        model_of(case),
        rule("**", "trainable"),
        rule("**.param1", weight_decay=0.27, name="one dimension"),
        rule("@bias", lr_mult=2.0, weight_decay=0.45, except_="@norm"),
        rule("@norm", weight_decay=0.0),
        rule("sub.conv1.weight", weight_decay=0.09, name="depthwise"),
        **case["base"],
    )
    assert numbers(plan) == case["expected"]


def test_mmengine_custom_keys(cases: dict[str, Any]) -> None:
    case = cases["mmengine-custom-keys-longest-wins"]
    rules = [
        rule("**", "trainable"),
        rule("@norm", weight_decay=0.45, except_="sub"),
        rule("**.param1", lr_mult=10.0),
        rule("sub", lr_mult=0.1, weight_decay=0.0, except_=["sub.param1", "sub.gn"]),
        rule("sub.gn", lr_mult=0.01),
    ]
    assert numbers(compiled(model_of(case), *rules, **case["base"])) == case["expected"]
    dead = rule("non_exist_key", lr_mult=0.5)
    assert codes_of(model_of(case), *rules, dead, **case["base"]) == ["FP201"]


def group_numbers(plan: Plan) -> dict[str, list[float]]:
    """Return rate, weight decay and number of tensors of each group by name."""
    return {g.name: [g.lr[0], g.weight_decay[0], len(g.members)] for g in plan.groups}


def test_automodel_router(cases: dict[str, Any]) -> None:
    case = cases["automodel-router"]
    inventory, expected = named(*case["params_names"]), case["expected"]
    everything = rule("**", "trainable", name="default")
    router = rule("router", lr_mult=0.1, weight_decay=0.0, name="router")
    assert group_numbers(compiled(inventory, everything, router, **case["base"])) == expected["a"]
    half = compiled(
        inventory,
        rule("**", "trainable", name="rest", lr_mult=0.5),
        rule("router", lr_mult=0.1),
        **case["base"],
    )
    first = expected["b_first_match"]
    assert {
        name: (lr / case["base"]["lr"], count) for name, (lr, _, count) in group_numbers(half).items()
    } == {
        "router": (pytest.approx(first["router_mult"]), first["router_params"]),
        "rest": (pytest.approx(first["rest_mult"]), len(case["params_names"]) - first["router_params"]),
    }
    whole = compiled(inventory, rule("**", "trainable", lr_mult=0.1), **case["base"])
    assert (len(whole.groups), whole.groups[0].lr[0]) == (expected["c"]["groups"], expected["c"]["lr"])
