"""A plan reads back: equal, from every spec; what is not whole, or contradicts itself, is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.document import to_json, to_record
from freezeplan.plan.reading import plan_from_json, plan_from_record
from freezeplan.plan.records import FORMAT_VERSION, Plan
from freezeplan.spec.reading import load_spec
from tests.plan.matching import named, rule
from tests.strategies import free_specs, inventories, refining_specs, rule_tables, selectors

SCHEDULES = [{"name": "linear", "warmup": 0.1}, {"name": "slanted_triangular", "cut_frac": 0.2}]
LENGTHS = [
    {"epochs": 2},
    {"steps": 5},
    {"until": {"metric": "a/accuracy", "patience": 2, "target": 0.0, "max_epochs": 3, "restore_best": True}},
]


@st.composite
def phases(draw: st.DrawFn, inventory: Inventory) -> list[dict[str, Any]]:
    """Draw up to three phases with a rule each, of all kinds of length and schedule."""
    found = []
    for number in range(draw(st.sampled_from([3, 2, 0]))):
        table = draw(rule_tables(draw(selectors(inventory)), number + 50)) | {"optional": True}
        phase = {**draw(st.sampled_from(LENGTHS)), "rule": [table]}
        if draw(st.booleans()):
            phase["schedule"] = draw(st.sampled_from(SCHEDULES))
        found.append(phase | {"on_thaw": draw(st.sampled_from(["keep", "reset"]))})
    return found


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw a plan: ties, one or two optimizers of several kinds, a run or phases."""
    inventory = draw(inventories(4))
    spec = draw(st.one_of(refining_specs(inventory), refining_specs(inventory), free_specs(inventory)))
    spec["optimizer"]["name"] = draw(st.sampled_from(["nadam", "adamw", "adam"]))
    if narrow := draw(st.sampled_from([None, None, "bfloat16"])):
        spec["model"] = {"frozen_dtype": narrow}
    if draw(st.booleans()):
        tied = {info.alias_of for info in inventory.params}
        own = draw(
            st.sampled_from([info.name for info in inventory.tensors if info.name not in tied] or ["**"])
        )
        spec["optimizer"]["own"] = {"name": "adamw", "match": own, "lr": 1e-4, "options": {"fused": False}}
    if stages := draw(phases(inventory)):
        spec["phase"] = stages
        spec["task"] = [{"name": "a", "labels": ["x", "y"]}]
        if draw(st.booleans()):
            score = {"a/accuracy": draw(st.floats(0.1, 9)), "a/loss": -1}
            stop = {"metric": "score", "at_least": 0.5}
            spec["train"] = spec.get("train", {}) | {"score": score, "stop_when": stop}
    try:
        return compile_plan(inventory, load_spec(spec))
    except DiagnosticError:
        # A plain plan instead: two in a row that do not compile would be too many for hypothesis.
        return compile_plan(inventory, load_spec({"rule": [{"match": "**", "state": "trainable"}]}))


@settings(max_examples=150)
@given(plans())
def test_what_was_written_reads_back_to_an_equal_plan(plan: Plan) -> None:
    record = to_record(plan)
    assert plan_from_record(record) == plan
    again = plan_from_json(to_json(plan))
    assert again == plan
    assert to_json(again) == to_json(plan)
    assert (again.model, again.origin, again.diagnostics) == (plan.model, plan.origin, plan.diagnostics)


MODEL = named(
    "body.0.weight", "body.0.bias", "body.1.weight", "head.weight", ties={"head.weight": "body.1.weight"}
)
SPEC: dict[str, Any] = {
    "optimizer": {"lr": 1e-3, "no_decay": ["**.bias"]},
    "rule": [rule("**", "frozen", name="all"), rule("body.0", "trainable", name="low", lr_mult=2.0)],
    "phase": [
        {"name": "first", "epochs": 1},
        {
            "name": "second",
            "steps": 4,
            "rule": [rule(["body.1", "head"], "trainable", name="rest", eps=1e-6)],
        },
    ],
}


def small_record() -> dict[str, Any]:
    return json.loads(to_json(compile_plan(MODEL, load_spec(SPEC))))


def refused(record: Any) -> Any:
    with pytest.raises(DiagnosticError) as caught:
        plan_from_record(record, "plan.json")
    (found,) = caught.value.diagnostics
    assert found.help
    return found


def test_a_newer_minor_version_is_read_and_what_it_added_left_alone() -> None:
    record = small_record()
    plan = plan_from_record(record)
    major, minor = FORMAT_VERSION.split(".")
    record["format_version"] = f"{major}.{int(minor) + 1}"
    record["more"] = 1
    record["phases"][0]["parameters"][0]["more"] = {"a": 1}
    assert plan_from_record(record) == plan
    assert plan_from_record(record).format_version == FORMAT_VERSION


@pytest.mark.parametrize("version", ["2.0", "0.9", "1", "1.2", 1.3, None, "1.x", "1.3.1", "²", ""])
def test_another_major_version_or_an_older_minor_one_is_refused(version: Any) -> None:
    found = refused(small_record() | {"format_version": version})
    assert found.code == "FP585" and repr(version) in found.message


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a rate in a row": lambda r: r["phases"][0]["parameters"][0].update(lr=5.0),
    "a rate in the list of assignments": lambda r: r["assignments"][0].update(lr=5.0),
    "a rate in a group": lambda r: r["groups"][0]["lr"].__setitem__(0, 5.0),
    "a rate that is a text": lambda r: r["groups"][0]["lr"].__setitem__(0, "0.002"),
    "a state": lambda r: r["phases"][1]["parameters"][0].update(state="frozen"),
    "no such state": lambda r: [
        row.update(state="thawed")
        for p in (r, *r["phases"])
        for row in p.get("assignments", p.get("parameters"))
    ],
    "an index too high": lambda r: r["phases"][0]["parameters"][0].update(assignment=99),
    "an index below": lambda r: r["phases"][0]["parameters"][0].update(assignment=-1),
    "a name in one phase": lambda r: r["phases"][1]["parameters"][0].update(name="other"),
    "a parameter twice": lambda r: [p["parameters"].append(p["parameters"][0]) for p in r["phases"]],
    "a parameter gone": lambda r: [p["parameters"].pop() for p in r["phases"]],
    "no phase": lambda r: r.update(phases=[]),
    "no groups": lambda r: r.pop("groups"),
    "groups that are a number": lambda r: r.update(groups=3),
    "a member in another group": lambda r: r["groups"][1]["members"].append(r["groups"][0]["members"].pop()),
    "a shape": lambda r: r["phases"][0]["parameters"][0].update(shape=[7]),
    "a shape that is none": lambda r: r["phases"][0]["parameters"][0].update(shape="wide"),
    "totals": lambda r: r["totals"].update(tensors=99),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_plan_that_contradicts_itself_is_refused(edit: str) -> None:
    record = copy.deepcopy(small_record())
    EDITS[edit](record)
    assert refused(record).code == "FP584"


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"phases": 1', '{"phases": []}', "[" * 99_999])
def test_a_text_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        plan_from_json(text, "plan.json")
    assert [item.code for item in caught.value.diagnostics] == ["FP584"]


@settings(max_examples=60)
@given(st.data())
def test_no_value_put_anywhere_makes_more_than_a_diagnostic(data: st.DataObject) -> None:
    record = small_record()
    place: Any = record
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.integers(0, 5)) == 0:
            break
        place = place[key]
    place[key] = data.draw(
        st.sampled_from([None, 0, -1, 1.5, "x", [], {}, [[1]], {"a": None}, True, 10**400])
    )
    try:
        plan = plan_from_record(record)
    except DiagnosticError:
        return
    assert plan_from_record(to_record(plan)) == plan
