"""The cascade's laws: it decides what a per-parameter reference decides, and reports what that one finds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Assignment, Plan
from freezeplan.spec.reading import load_spec
from tests.plan.matching import assignments, codes_of, compiled, errors_of, named, rule, sized, states, untied
from tests.plan.reference_cascade import Outcome, candidates, outcome
from tests.strategies import inventories, is_below, refining_specs, specs


def verdict(inventory: Inventory, spec: dict[str, Any]) -> tuple[Plan | None, list[Diagnostic]]:
    """Compile; return the plan, if there is one, and all diagnostics."""
    try:
        plan = compile_plan(inventory, load_spec(spec))
    except DiagnosticError as error:
        return None, list(error.diagnostics)
    return plan, list(plan.diagnostics)


def pairs(found: list[Diagnostic], code: str) -> set[tuple[str, ...]]:
    """Return the rule names between backquotes in the messages of a code."""
    return {tuple(re.findall(r"`(rule \d+)`", item.message)) for item in found if item.code == code}


@settings(max_examples=200)
@given(st.data())
def test_it_reports_what_the_reference_finds(data: st.DataObject) -> None:
    inventory = data.draw(inventories(4))
    for spec in data.draw(st.lists(specs(inventory), min_size=3, max_size=5)):
        plan, found = verdict(inventory, spec)
        check(inventory, outcome(inventory, spec), plan, found)


def check(inventory: Inventory, expected: Outcome, plan: Plan | None, found: list[Diagnostic]) -> None:
    """Compare, stage by stage: patterns first, then rules against each other, then what they add up to."""
    errors = {item.code for item in found if item.is_error}
    if expected.unreadable:
        assert errors
        assert all(code.startswith("FP2") for code in errors)
        return
    assert pairs(found, "FP302") == expected.overlaps
    assert {pair[::-1] for pair in pairs(found, "FP303")} == expected.supersets
    assert ("FP301" in errors) == bool(expected.uncovered)
    if errors & {"FP301", "FP302", "FP303"}:
        return
    assert {pair[0] for pair in pairs(found, "FP304")} == expected.dead
    assert sum(item.code == "FP305" for item in found) == len({first for first, _ in expected.torn})
    assert sum(item.code == "FP307" for item in found) == len(expected.idle)
    assert (plan is None) == bool(expected.dead or expected.torn)
    if plan is not None:
        check_ends(expected, plan)


def check_ends(expected: Outcome, plan: Plan) -> None:
    """Compare what each tensor ends with, and which rule is said to have decided it."""
    for name, what in assignments(plan).items():
        assert ends(what) == expected.ends[name], name
        for key, decider in what.decided:
            assert decider == candidates(expected, name, {"lr": "rate"}.get(key, key))[-1].name


def ends(what: Assignment) -> dict[str, Any]:
    """Return what the reference knows of an assignment."""
    options = dict(what.options)
    return {
        "state": what.state,
        "lr": what.lr,
        "weight_decay": what.weight_decay,
        "betas": options["betas"],
        "eval_mode": what.eval_mode,
    }


@settings(max_examples=60)
@given(inventories(4), st.data())
def test_rules_that_share_nothing_may_stand_in_any_order(inventory: Inventory, data: Any) -> None:
    inventory = untied(replace(inventory, base=""))
    parts: dict[int, list[str]] = {}
    for info in inventory.params:
        parts.setdefault(data.draw(st.integers(0, 3)), []).append(info.name)
    rules = [rule(names, "trainable", lr=0.001 * (i + 1), name=f"rule {i}") for i, names in parts.items()]
    mixed = data.draw(st.permutations(rules))
    assert assignments(compiled(inventory, *rules)) == assignments(compiled(inventory, *mixed))


@settings(max_examples=60)
@given(st.data())
def test_equal_values_never_collide(data: st.DataObject) -> None:
    inventory = data.draw(inventories(4))
    spec = data.draw(specs(inventory))
    kept = ("name", "match", "except", "optional", "override")
    equal = [
        {key: table[key] for key in kept if key in table} | {"state": "trainable"} for table in spec["rule"]
    ]
    spec = {**spec, "rule": equal}
    assert not {item.code for item in verdict(inventory, spec)[1]} & {"FP302", "FP303"}


@settings(max_examples=60)
@given(st.data())
def test_a_chain_from_the_whole_down_never_collides(data: st.DataObject) -> None:
    inventory = data.draw(inventories(4))
    spec = data.draw(refining_specs(inventory))
    assume(not outcome(inventory, spec).unreadable)
    assert not {item.code for item in verdict(inventory, spec)[1]} & {"FP301", "FP302", "FP303"}


@settings(max_examples=60)
@given(st.data())
def test_the_notes_name_every_uncovered_parameter_and_no_other(data: st.DataObject) -> None:
    inventory = data.draw(inventories(4))
    paths = [info.name for info in inventory.params] + [info.path for info in inventory.modules if info.path]
    chosen = data.draw(st.lists(st.sampled_from(paths), max_size=3, unique=True))
    spec = {
        "optimizer": {"no_decay": []},
        "rule": [rule(path, "frozen", name=f"rule {i}") for i, path in enumerate(chosen)],
    }
    expected = outcome(inventory, spec)
    assume(not expected.unreadable and expected.uncovered)
    (error,) = [item for item in verdict(inventory, spec)[1] if item.code == "FP301"]
    noted = ["" if "(the whole model)" in note else note.split("`")[1] for note in error.notes]
    assert {
        i.name for i in inventory.params if any(is_below(i.name, path) for path in noted)
    } == expected.uncovered
    assert not any(is_below(one, other) for one in noted for other in noted if one != other)


def test_an_override_decides_an_overlap() -> None:
    inventory = named("a.weight", "a.bias", "b.weight", "b.bias")
    rules = [rule("**", "frozen"), rule("a", "trainable", name="first")]
    later = rule("*.weight", lr=0.5, state="frozen", name="second")
    assert codes_of(inventory, *rules, later) == ["FP302"]
    plan = compiled(inventory, *rules, later | {"override": ["first"]})
    assert states(plan) == {
        "a.weight": "frozen",
        "a.bias": "trainable",
        "b.weight": "frozen",
        "b.bias": "frozen",
    }


def test_an_override_of_what_does_not_collide_is_reported() -> None:
    inventory = named("a.weight", "b.weight")
    plan = compiled(inventory, rule("a", "trainable", name="first"), rule("b", "frozen", override=["first"]))
    assert [item.code for item in plan.diagnostics] == ["FP306"]


def test_the_later_superset_is_told_to_move_up() -> None:
    (error,) = errors_of(named("a.b.weight", "a.weight"), rule("a.b", "frozen"), rule("a", "trainable"))
    assert error.code == "FP303"
    assert error.help.startswith("move it above `a.b`")


def test_a_collision_names_every_property_it_is_about_once() -> None:
    inventory = named("a.weight", "a.bias", "b.weight", "b.bias")
    (error,) = errors_of(
        inventory, rule("**", "frozen"), rule("a", "trainable", lr=0.1), rule("*.bias", "frozen", lr=0.2)
    )
    assert error.code == "FP302"
    assert "`state`: trainable and frozen; `lr`: 0.1 and 0.2" in error.message


def test_properties_compose_whoever_sets_them() -> None:
    inventory = named("a.weight", "b.weight")
    plan = compiled(
        inventory, rule("**", "trainable", lr=0.5), rule("a", weight_decay=0.25), rule("a.weight", lr=0.125)
    )
    end = assignments(plan)["a.weight"]
    assert (end.state, end.lr, end.weight_decay) == ("trainable", 0.125, 0.25)
    assert dict(end.decided) == {"state": "**", "lr": "a.weight", "weight_decay": "a"}


def test_lr_and_lr_mult_are_one_property() -> None:
    inventory = named("a.weight", "b.weight")
    rules = [rule("**", "trainable"), rule("a", lr=0.5, weight_decay=0.5)]
    assert codes_of(inventory, *rules, rule("**.weight", lr_mult=3.0), lr=0.25) == ["FP303"]
    plan = compiled(inventory, *rules, rule("**.weight", lr_mult=2.0), lr=0.25)
    assert [dict(what.decided)["lr"] for what in assignments(plan).values()] == ["**.weight", "**.weight"]


def test_the_mask_comes_after_the_cascade_and_can_be_pierced() -> None:
    inventory = named("a.weight", "a.bias", role_nodes={"bias": ("a.bias",)})
    rules = [rule("**", "trainable", weight_decay=0.5), rule("a", weight_decay=0.25)]
    assert decays(compiled(inventory, *rules[:1], no_decay=["@bias"])) == {"a.weight": 0.5, "a.bias": 0.0}
    pierced = rule("a.bias", weight_decay=0.25, override=["no_decay"])
    assert decays(compiled(inventory, rules[0], pierced, no_decay=["@bias"])) == {
        "a.weight": 0.5,
        "a.bias": 0.25,
    }
    masked = rule("a.bias", weight_decay=0.25)
    assert codes_of(inventory, rules[0], masked, no_decay=["@bias"]) == ["FP304"]


def decays(plan: Plan) -> dict[str, float]:
    """Return the weight decay of each tensor by name."""
    return {name: what.weight_decay for name, what in assignments(plan).items()}


def test_a_tied_tensor_is_masked_under_all_its_names_when_one_is() -> None:
    inventory = named("a.weight", "b.weight", ties={"b.weight": "a.weight"})
    assert decays(compiled(inventory, rule("**", "trainable"), no_decay=["b"])) == {"a.weight": 0.0}


def test_a_rule_shadowed_everywhere_is_dead() -> None:
    inventory = named("a.weight", "b.weight")
    (error,) = errors_of(
        inventory, rule("**", "frozen", name="all"), rule("a", "trainable"), rule("b", "trainable")
    )
    assert (error.code, error.where) == ("FP304", "rule[1].match")
    assert "`a`" in error.notes[0]
    assert "`b`" in error.notes[0]


def test_expect_counts_tensors_and_elements_after_except() -> None:
    inventory = sized({"a.weight": (3, 2), "a.bias": (3,), "b.weight": (5,)}, ties={})
    base = rule("**", "frozen")
    ok = rule("a", "trainable", except_="a.bias", expect={"tensors": 1, "parameters": 6})
    assert states(compiled(inventory, base, ok))["a.weight"] == "trainable"
    wrong = rule("a", "trainable", except_="a.bias", expect={"tensors": 2, "parameters": 9})
    found = errors_of(inventory, base, wrong)
    assert [(item.code, item.where) for item in found] == [
        ("FP211", "rule[2].expect.parameters"),
        ("FP211", "rule[2].expect.tensors"),
    ]


def test_expect_counts_a_tied_tensor_once() -> None:
    inventory = named("a.weight", "b.weight", ties={"b.weight": "a.weight"})
    assert compiled(inventory, rule("**", "trainable", expect={"tensors": 1, "parameters": 2})).numel == 2


def test_names_of_one_tensor_must_end_equal() -> None:
    inventory = named("wte.weight", "lm_head.weight", ties={"lm_head.weight": "wte.weight"})
    (error,) = errors_of(
        inventory, rule("wte", "frozen", name="embeddings"), rule("lm_head", "trainable", name="head")
    )
    assert error.code == "FP305"
    assert "`wte.weight`" in error.message
    assert "`lm_head.weight`" in error.message
    assert [note.split("(")[1] for note in error.notes] == ["rule `embeddings`)", "rule `head`)"]
    assert states(compiled(inventory, rule("wte", "frozen"), rule("lm_head", "frozen"))) == {
        "wte.weight": "frozen"
    }


def test_places_without_a_state_count_a_tied_tensor_once() -> None:
    inventory = named("a.weight", "b.weight", "b.tied", "b.bias", "c.weight", ties={"b.tied": "b.weight"})
    (error,) = errors_of(inventory, rule("c.weight", "frozen"))
    assert (error.code, error.notes) == ("FP301", ("`a` (1 tensor)", "`b` (2 tensors)"))
    assert error.message.startswith("3 parameter tensors")


def test_every_name_of_a_tied_tensor_must_get_its_state() -> None:
    inventory = named("wte.weight", "lm_head.weight", ties={"lm_head.weight": "wte.weight"})
    (error,) = errors_of(inventory, rule("wte", "frozen"))
    assert error.code == "FP301"
    assert [note.split("`")[1] for note in error.notes] == ["lm_head"]


def test_an_absent_role_is_a_note_in_no_decay_and_an_error_in_a_rule() -> None:
    inventory = named("a.weight")
    plan = compiled(inventory, rule("**", "trainable"), no_decay=["@bias"])
    assert [(item.code, item.where) for item in plan.diagnostics] == [("FP212", "optimizer.no_decay[1]")]
    assert codes_of(inventory, rule("**", "frozen"), rule("@bias", "trainable")) == ["FP203"]
