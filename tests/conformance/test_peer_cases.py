"""The numbers that other tools' own tests expect, from our specs over the same parameters."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freezeplan.apply.schedules import schedule_factor, stretch_steps
from freezeplan.apply.timetable import Timetable
from freezeplan.inventory.records import Inventory, Stack
from freezeplan.inventory.roles import with_structure
from freezeplan.inventory.structure import Hints
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.spec.reading import load_spec
from tests.plan.matching import assignments, codes_of, compiled, named, rule, sized


@pytest.fixture(scope="module")
def cases(shared: Path) -> dict[str, Any]:
    """Return the cases by their id."""
    found = json.loads((shared / "conformance" / "peer_cases.json").read_text("utf-8"))
    return {case["id"]: case for case in found}


def test_every_case_is_checked(cases: dict[str, Any]) -> None:
    checked = {"mmengine-paramwise", "mmengine-custom-keys-longest-wins", "automodel-router"}
    assert cases.keys() == checked | {"mmpretrain-layer-decay", "allennlp-stlr"}


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


# The two layers of the case, 1 above 0, and a head that always trains, as in AllenNLP's own test model.
TOWER = {"layer.0.weight": (2, 2), "layer.1.weight": (2, 2)}


def allennlp_plan(case: dict[str, Any], *, gradual: bool, decay: float) -> Plan:
    """Compile the case's schedule over two layers: in two phases if they thaw gradually."""
    config = case["config"]
    schedule = {key: float(config[key]) for key in ("cut_frac", "ratio")} | {"name": "slanted_triangular"}
    lower = rule("layer.0", "trainable", lr_mult=decay, name="lower")
    upper = rule("layer.1", "trainable", name="upper")
    first = rule("**", "frozen", name="all")
    spec: dict[str, Any] = {
        "optimizer": {"lr": float(config["base_lr"]), "no_decay": []},
        "schedule": schedule,
    }
    if gradual:
        thaw = {"epochs": config["num_epochs"] - 1, "schedule": {}, "rule": [lower]}
        spec |= {"rule": [first, upper], "phase": [{"epochs": 1}, thaw]}
    else:
        spec |= {"rule": [lower, upper], "train": {"epochs": config["num_epochs"]}}
    return compile_plan(sized(TOWER), load_spec(spec))


@pytest.mark.parametrize(
    ("name", "gradual", "decay"),
    [("gradual", True, 1.0), ("discriminative_0.5", False, 0.5), ("both", True, 0.5)],
)
def test_allennlp_slanted_triangles_and_gradual_unfreezing(
    cases: dict[str, Any], name: str, gradual: bool, decay: float
) -> None:
    case = cases["allennlp-stlr"]
    plan = allennlp_plan(case, gradual=gradual, decay=decay)
    times = Timetable(plan, case["config"]["steps_per_epoch"])
    assert times.steps == case["config"]["num_epochs"] * case["config"]["steps_per_epoch"]
    for iteration, layer, rate in case["expected"][name]:
        place = times.place(iteration)
        before, steps = stretch_steps(plan, times.phase_steps, place.phase)
        factor = schedule_factor(plan.phases[place.phase].schedule, steps)(before + place.step)
        what = plan.phases[place.phase].assignments[layer]
        assert (what.lr if what.trainable else 0.0) * factor == pytest.approx(rate, abs=1e-6)


def test_mmpretrain_layer_decay(cases: dict[str, Any]) -> None:
    case = cases["mmpretrain-layer-decay"]
    bare = sized({name: (2,) if name.endswith("bias") else (2, 2) for name in case["expected"]})
    layers = tuple(f"backbone.layers.{at}" for at in range(case["peer_config"]["layers"]))
    decay = {"formula": "beit", "rate": case["peer_config"]["layer_decay_rate"]}
    plan = compiled(
        with_structure(
            replace(bare, base="backbone", stacks=(Stack("backbone.layers", layers, ("the case",)),)), Hints()
        ),
        rule("**", "trainable", layer_decay=decay),
        **case["base"],
        no_decay=["@bias", *(f"**.{name}" for name in case["peer_config"]["no_decay"])],
    )
    found = {name: [what.lr, what.weight_decay] for name, what in assignments(plan).items()}
    assert found == case["expected"]
