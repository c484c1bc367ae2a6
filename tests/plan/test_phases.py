"""Phases: each changes what it names, all of them are compiled and checked up front."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.document import plan_hash, to_record
from freezeplan.plan.records import Plan
from freezeplan.plan.thawing import histories
from freezeplan.plan.why import explain
from freezeplan.spec.reading import load_spec
from tests.plan.matching import named, rule
from tests.strategies import inventories

TOWER = named("emb.weight", "layer.0.w", "layer.1.w", "layer.10.w", "heads.a.w")
FREEZE_ALL = rule("**", "frozen", name="all")
HEADS = rule("heads", "trainable", name="heads", lr=1e-3)


def phase(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a phase of one epoch with these rules."""
    length = {} if more.keys() & {"steps", "until"} else {"epochs": 1}
    return {**length, **more, "rule": list(rules)}


def in_phases(
    inventory: Inventory, rules: list[dict[str, Any]], *phases: dict[str, Any], **more: Any
) -> Plan:
    """Compile base rules and phases; weight decay has no exceptions."""
    spec = {"optimizer": {"no_decay": []}, **more, "rule": rules, "phase": list(phases)}
    return compile_plan(inventory, load_spec(spec))


def trained(plan: Plan) -> list[set[str]]:
    """Return the names that train, phase by phase."""
    return [set(plan.names(index, trainable=True)) for index in range(len(plan.phases))]


def rates(plan: Plan, name: str) -> list[float | None]:
    """Return a tensor's rate in each phase, None while it is frozen."""
    at = next(index for index, param in enumerate(plan.params) if param.name == name)
    whats = [item.assignments[at] for item in plan.phases]
    return [what.lr if what.trainable else None for what in whats]


def test_a_phase_changes_what_it_names_and_leaves_the_rest() -> None:
    plan = in_phases(
        TOWER,
        [FREEZE_ALL, HEADS],
        phase(name="heads only"),
        phase(rule("layer.10", "trainable", lr=1e-4), name="top"),
        phase(rule("layer.10", "frozen"), rule("layer.1", "trainable", lr=1e-5), name="below"),
    )
    assert [item.name for item in plan.phases] == ["heads only", "top", "below"]
    assert trained(plan) == [{"heads.a.w"}, {"heads.a.w", "layer.10.w"}, {"heads.a.w", "layer.1.w"}]
    assert rates(plan, "heads.a.w") == [1e-3, 1e-3, 1e-3]
    assert rates(plan, "layer.10.w") == [None, 1e-4, None]
    assert [item.thawed for item in plan.phases] == [(), ("layer.10.w",), ("layer.1.w",)]
    assert [item.refrozen for item in plan.phases] == [(), (), ("layer.10.w",)]


def test_rates_may_change_from_phase_to_phase() -> None:
    plan = in_phases(
        TOWER,
        [FREEZE_ALL, HEADS],
        phase(),
        phase(rule("layer", "trainable", lr=1e-4), rule("heads", lr=5e-4)),
        phase(rule("layer", lr=1e-5)),
    )
    assert rates(plan, "heads.a.w") == [1e-3, 5e-4, 5e-4]
    assert rates(plan, "layer.1.w") == [None, 1e-4, 1e-5]
    assert [group.lr for group in plan.groups if "layer.1.w" in group.members] == [(None, 1e-4, 1e-5)]


def test_the_groups_hold_whatever_any_phase_trains() -> None:
    plan = in_phases(
        TOWER,
        [FREEZE_ALL, HEADS],
        phase(),
        phase(rule("layer.{0..1}", "trainable")),
        phase(rule("heads", "frozen")),
    )
    members = [name for group in plan.groups for name in group.members]
    assert sorted(members) == sorted(set.union(*trained(plan)))
    assert len(members) == len(set(members))
    assert [name for row in plan.frozen for name in row.members] == ["emb.weight", "layer.10.w"]


def test_within_a_phase_rules_collide_as_in_the_base() -> None:
    with pytest.raises(DiagnosticError) as caught:
        in_phases(
            TOWER,
            [FREEZE_ALL, HEADS],
            phase(rule("layer.{0..1}", "trainable"), rule(["layer.1", "layer.10"], "frozen")),
        )
    assert [item.code for item in caught.value.diagnostics] == ["FP302"]
    assert caught.value.diagnostics[0].where == "phase[1].rule[2].match"


def test_a_phase_overrules_the_layers_before_it_without_a_word() -> None:
    broad, narrow = rule("layer.{0..1}", "trainable"), rule(["layer.1", "layer.10"], "frozen")
    plan = in_phases(TOWER, [FREEZE_ALL, HEADS, broad], phase(), phase(narrow))
    assert {item.code for item in plan.diagnostics} <= {"FP407"}
    assert trained(plan)[1] == {"heads.a.w", "layer.0.w"}
    with pytest.raises(DiagnosticError, match="FP302"):
        in_phases(TOWER, [FREEZE_ALL, HEADS, broad, narrow], phase())


def test_override_speaks_of_the_rules_of_its_own_phase() -> None:
    broad = rule("layer.{0..1}", "trainable", name="all")
    narrow = rule(["layer.1", "layer.10"], "frozen", name="some", override=["all"])
    plan = in_phases(
        TOWER, [FREEZE_ALL, HEADS], phase(broad, narrow, name="one"), phase(rule("layer.10", "trainable"))
    )
    assert trained(plan)[0] == {"heads.a.w", "layer.0.w"}
    assert {what.rule for what in plan.phases[0].assignments} >= {"all", "all (one)", "some"}


def test_a_rule_that_decides_in_some_phase_is_not_dead() -> None:
    plan = in_phases(TOWER, [FREEZE_ALL, HEADS], phase(), phase(rule("**", "trainable")))
    assert trained(plan)[1] == {param.name for param in plan.params}
    with pytest.raises(DiagnosticError) as caught:
        in_phases(
            TOWER, [FREEZE_ALL, HEADS], phase(rule("**", "trainable", lr=1e-4)), phase(rule("emb", "frozen"))
        )
    assert [item.code for item in caught.value.diagnostics] == ["FP304", "FP304"]


def test_every_parameter_needs_its_state_by_the_first_phase() -> None:
    in_phases(TOWER, [HEADS], phase(rule(["emb", "layer"], "frozen")))
    with pytest.raises(DiagnosticError) as caught:
        in_phases(TOWER, [HEADS], phase(), phase(rule(["emb", "layer"], "frozen")))
    assert [item.code for item in caught.value.diagnostics] == ["FP301"]


def test_findings_of_several_phases_are_said_once_with_their_names() -> None:
    plan = in_phases(
        TOWER,
        [rule("**", "trainable"), rule("heads", "frozen")],
        phase(name="one"),
        phase(rule("emb", "frozen"), name="two"),
        phase(rule("**", "frozen"), name="three"),
    )
    said = [item.message for item in plan.diagnostics if item.code == "FP404"]
    assert said == [
        "in phase `three`: every parameter is frozen: nothing will be learned, this is evaluation only"
    ]


def test_a_phase_or_a_rule_without_effect_is_a_warning() -> None:
    plan = in_phases(
        TOWER,
        [FREEZE_ALL, HEADS],
        phase(),
        phase(rule("heads", "trainable"), rule("layer.0", "trainable")),
        phase(name="go on"),
        phase(name="warm again", schedule={"warmup": 10}),
    )
    said = {item.code: item.where for item in plan.diagnostics if item.code in ("FP424", "FP425")}
    assert said == {"FP425": "phase[2].rule[1].match", "FP424": "phase[3]"}


def test_state_is_given_up_when_nothing_uses_it_again() -> None:
    rules = [FREEZE_ALL, HEADS]
    there = phase(rule("layer.0", "trainable"))
    away, back = phase(rule("layer.0", "frozen")), phase(rule("layer.0", "trainable"))
    fresh = in_phases(TOWER, rules, there, away, back)
    kept = in_phases(TOWER, rules, there, away, {**back, "on_thaw": "keep"})
    assert [item.drops_state for item in fresh.phases] == [(), ("layer.0.w",), ()]
    assert [item.drops_state for item in kept.phases] == [(), (), ()]
    sizes = [item.optimizer_state_bytes for item in fresh.phases]
    assert sizes[1] < sizes[0] == sizes[2]
    assert len({item.optimizer_state_bytes for item in kept.phases}) == 1


@given(
    st.lists(st.lists(st.booleans(), min_size=5, max_size=5), max_size=4),
    st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_histories_agree_with_living_through_the_phases(
    trained: list[list[bool]], resets: list[bool]
) -> None:
    for row, history in zip(trained, histories(trained, resets), strict=True):
        held = False
        for at, trains in enumerate(row):
            before = at > 0 and row[at - 1]
            assert (at in history.thaws) == (at > 0 and trains and not before)
            assert (at in history.refreezes) == (before and not trains)
            held = (held and at not in history.drops) or trains
            assert (at in history.holds_state) == held
            if at in history.thaws and any(row[:at]):
                # State that a reset would throw away is gone; state that is to be kept is still there.
                assert (at - 1 in history.holds_state) == (not resets[at])


def test_lengths_and_schedules_are_laid_out() -> None:
    plan = in_phases(
        TOWER,
        [FREEZE_ALL, HEADS],
        phase(),
        phase(rule("layer.0", "trainable"), steps=50),
        phase(rule("layer.1", "trainable"), until={"metric": "a/loss", "patience": 2, "max_epochs": 9}),
        phase(rule("layer.10", "trainable")),
        phase(rule("emb", "trainable"), schedule={"warmup": 7}),
        phase(rule("layer.0", "frozen")),
        schedule={"name": "cosine", "warmup": 0.1},
        task=[{"name": "a", "labels": ["x", "y"]}],
    )
    assert [(item.length.unit, item.length.count) for item in plan.phases] == [
        ("epochs", 1),
        ("steps", 50),
        ("until", 9),
        ("epochs", 1),
        ("epochs", 1),
        ("epochs", 1),
    ]
    assert [item.schedule.stretch for item in plan.phases] == [0, 0, 2, 3, 4, 4]
    assert [item.schedule.warmup for item in plan.phases] == [0.1, 0.1, 0.1, 0.1, 7, 7]
    assert {item.schedule.name for item in plan.phases} == {"cosine"}


def test_a_schedule_of_another_name_takes_nothing_over() -> None:
    plan = in_phases(
        TOWER,
        [FREEZE_ALL, HEADS],
        phase(),
        phase(schedule={"name": "slanted_triangular"}),
        schedule={"warmup": 0.2},
    )
    second = plan.phases[1].schedule
    assert (second.name, second.warmup, second.options) == (
        "slanted_triangular",
        0,
        (("cut_frac", 0.1), ("ratio", 32.0)),
    )


def test_the_record_and_the_hash_hold_the_phases() -> None:
    phases = [phase(name="a"), phase(rule("layer.0", "trainable"), name="b")]
    plan = in_phases(TOWER, [FREEZE_ALL, HEADS], *phases)
    longer = in_phases(TOWER, [FREEZE_ALL, HEADS], phases[0], {**phases[1], "epochs": 2})
    assert [item["length"] for item in to_record(longer)["phases"]] == [
        {"unit": "epochs", "count": 1},
        {"unit": "epochs", "count": 2},
    ]
    assert plan_hash(plan) != plan_hash(longer)


def test_why_tells_what_each_phase_does_and_which_rule_did_it() -> None:
    spec = load_spec(
        {
            "rule": [FREEZE_ALL, HEADS],
            "phase": [phase(name="a"), phase(rule("layer.0", "trainable"), name="b")],
        }
    )
    found = explain(TOWER, spec, "layer.0.w")
    assert [(name, what.state) for name, what in found.phases] == [("a", "frozen"), ("b", "trainable")]
    assert [(touch.rule, touch.won) for touch in found.touches] == [("all", False), ("layer.0", True)]
    assert found.touches[0].reason == "changed by `layer.0` in phase `b`"
    assert [touch.won for touch in explain(TOWER, spec, "layer.0.w", "a").touches] == [True]
    with pytest.raises(DiagnosticError, match="FP217"):
        explain(TOWER, spec, "layer.0.w", "c")


Values = dict[str, dict[str, Any]]


@settings(max_examples=100, deadline=None)
@given(inventories(4), st.data())
def test_each_phase_is_the_one_before_with_its_rules_on_top(
    inventory: Inventory, data: st.DataObject
) -> None:
    names = [info.name for info in inventory.params if info.alias_of is None]
    inventory = Inventory(
        "made", tuple(p for p in inventory.params if p.alias_of is None), inventory.modules, origin="made"
    )
    phases = data.draw(st.lists(st.lists(one_rule(names), max_size=3), min_size=1, max_size=4))
    plan = _without_dead_rules(inventory, [rule("**", "frozen", lr=1.0)], phases)
    if plan is None:
        return
    now: Values = {name: {"state": "frozen", "lr": 1.0} for name in names}
    for index, rules in enumerate(phases):
        for name, table in ((table["match"][0], table) for table in rules):
            now[name].update({key: table[key] for key in ("state", "lr") if key in table})
        for param, what in zip(plan.params, plan.phases[index].assignments, strict=True):
            expected = now[param.name]
            assert what.state == expected["state"]
            assert not what.trainable or what.lr == expected["lr"]
    check_groups(plan)


def one_rule(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return rules about one parameter each, which can never merely overlap."""
    return st.builds(
        lambda name, state, lr: rule([name], state, lr=lr),
        st.sampled_from(names),
        st.sampled_from(["frozen", "trainable"]),
        st.sampled_from([None, 0.1, 0.2]),
    )


def _without_dead_rules(inventory: Inventory, rules: list[dict[str, Any]], phases: list[Any]) -> Plan | None:
    """Compile; None where a later rule of the same phase hides an earlier one (an error of its own)."""
    try:
        return in_phases(inventory, rules, *[phase(*tables) for tables in phases])
    except DiagnosticError as error:
        assert {item.code for item in error.diagnostics if item.is_error} <= {"FP303", "FP304"}
        return None


def check_groups(plan: Plan) -> None:
    """The groups are disjoint, their union is what any phase trains, and they say what the phases do."""
    members = [name for group in plan.groups for name in group.members]
    assert sorted(members) == sorted(set.union(*trained(plan)))
    for group in plan.groups:
        for name in group.members:
            assert tuple(rates(plan, name)) == group.lr


@pytest.mark.parametrize(("thawed", "kept_in"), [(False, "bfloat16"), (True, None)])
def test_why_says_in_what_a_tensor_is_kept_that_no_phase_trains(thawed: bool, kept_in: str | None) -> None:
    state = {"match": "layer.0", "state": "trainable" if thawed else "frozen"}
    rules = [{"match": "**", "state": "trainable"}, {"match": "layer.0", "state": "frozen", "name": "off"}]
    phases = [{"name": "a", "epochs": 1}, {"name": "b", "epochs": 1, "rule": [state]}]
    spec = load_spec({"model": {"source": "x", "frozen_dtype": "bfloat16"}, "rule": rules, "phase": phases})
    assert explain(TOWER, spec, "layer.0.w", "a").kept_in == kept_in
