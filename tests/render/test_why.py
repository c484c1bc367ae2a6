from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from freezeplan.diagnostics import Span
from freezeplan.inventory.records import ParamInfo
from freezeplan.plan.records import Assignment
from freezeplan.plan.why import Touch, Why
from freezeplan.render.why import WhyView, why_record
from tests.render.drawing import drawn

NAME = "backbone.layer.5.bias"


def place(line: int) -> Span:
    return Span("s.toml", line, 1, 8, "[[rule]]")


WHY = Why(
    asked="layer.5.bias",
    param=ParamInfo(NAME, (768,), "float32", "backbone.layer.5", layer=5),
    names=(NAME, "other.bias"),
    assignment=Assignment("trainable", 1e-5, 0.0, (("eps", 1e-6),), (("state", "upper"),), True, "upper"),
    touches=(
        Touch("all", place(3), "state", "frozen", False, "refined by `upper`"),
        Touch("all", place(3), "lr", 1e-4, False, "refined by `upper`"),
        Touch("upper", place(9), "state", "trainable", True, "the most specific rule that sets it"),
        Touch("upper", place(9), "lr_mult", 0.5, True, "the most specific rule that sets it"),
    ),
    notes=("roles: @bias, @layers",),
)


def test_final_values_come_first():
    lines = drawn(WhyView(WHY)).split("\n\n")[0].splitlines()
    assert [re.split(r"  +", line.strip()) for line in lines] == [
        [NAME],
        ["tensor", "768 float32, 768 parameters, layer 5"],
        ["also named", "other.bias"],
        ["state", "trainable"],
        ["LR", "1e-05"],
        ["weight decay", "0 (no_decay)"],
        ["options", "eps = 1e-06"],
    ]


def test_each_property_has_its_winner_first_and_says_who_was_overruled_and_where():
    _, state, rate, notes = drawn(WhyView(WHY)).split("\n\n")
    assert state.splitlines() == [
        "state",
        '  wins       state = "trainable"  upper  s.toml:9:1',
        "             the most specific rule that sets it",
        '  overruled  state = "frozen"  all  s.toml:3:1',
        "             refined by `upper`",
    ]
    assert [line.split()[:4] for line in rate.splitlines()[1::2]] == [
        ["wins", "lr_mult", "=", "0.5"],
        ["overruled", "lr", "=", "1e-04"],
    ]
    assert notes == "note: roles: @bias, @layers\n"


def test_overruled_values_are_struck_through_in_colour():
    colored = drawn(WhyView(WHY), color=True)
    assert re.search(r'\x1b\[[\d;]*9m[^\x1b]*state = "frozen"', colored)
    assert not re.search(r'\x1b\[[\d;]*9m[^\x1b]*state = "trainable"', colored)


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_console_cuts_nothing(width):
    out = drawn(WhyView(WHY), width)
    assert max(map(cell_len, out.splitlines())) <= width
    assert NAME in out and "s.toml:9:1" in out and "refined by `upper`" in out


def test_a_frozen_parameter_has_no_numbers():
    frozen = replace(WHY, assignment=replace(WHY.assignment, state="frozen"))
    assert "LR" not in drawn(WhyView(frozen)).split("\n\n")[0]
    assert why_record(frozen)["lr"] is None and why_record(frozen)["options"] == {}


def test_the_record_holds_the_same_facts():
    record = json.loads(json.dumps(why_record(WHY)))
    assert (record["parameter"], record["lr"], record["weight_decay"]) == (NAME, 1e-5, 0.0)
    assert record["touches"][0] == {
        "property": "state",
        "value": "frozen",
        "rule": "all",
        "place": "s.toml:3:1",
        "won": False,
        "reason": "refined by `upper`",
    }
    assert len(record["touches"]) == 4


def test_a_weight_that_rests_says_in_what_it_is_kept():
    resting = replace(WHY, kept_in="bfloat16")
    assert "kept in       bfloat16; computes in float32" in drawn(WhyView(resting))
    assert why_record(resting)["kept_in"] == "bfloat16" and "kept in" not in drawn(WhyView(WHY))
