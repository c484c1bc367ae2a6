"""The line that says how much of a frozen part may run from the store, under a table and under a matrix."""

from __future__ import annotations

from typing import Any

import pytest

from freezeplan.inventory.from_module import inventory_of
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.render.matrix import MatrixView
from freezeplan.render.summary import summary_facts
from freezeplan.render.table import PlanView
from freezeplan.spec.reading import load_spec
from tests.plan.matching import rule
from tests.prefix.architectures import ARCHITECTURES, build
from tests.render.drawing import drawn

BERT = inventory_of(build(next(row for row in ARCHITECTURES if row.label == "bert")))
HEADS = rule("heads", "trainable")


def plan_of(*rules: dict[str, Any], phases: tuple[dict[str, Any], ...] = ()) -> Plan:
    frozen = rule("**", "frozen")
    return compile_plan(BERT, load_spec({"rule": [frozen, *rules], "phase": list(phases)}))


@pytest.mark.parametrize(
    ("rules", "store", "line"),
    [
        ([HEADS], "auto", 'stored features of the whole backbone (train.store = "auto")'),
        (
            [rule("@layers[-1:]", "trainable"), HEADS],
            "require",
            'stored prefix up to k=3 of 4 (train.store = "require")',
        ),
        (
            [rule("@layers", "trainable")],
            "auto",
            "no store: nothing is frozen below the first trainable tensor",
        ),
        ([HEADS], "off", 'no store (train.store = "off")'),
        ([], "auto", "no store: nothing trains, each input runs once"),
    ],
)
def test_a_phase_says_how_much_may_be_stored(rules: list[dict[str, Any]], store: str, line: str) -> None:
    plan = plan_of(*rules)
    assert dict(summary_facts(plan, 0, store))["execution"] == line
    assert line in drawn(PlanView(plan, store=store), 140)
    assert "execution" not in dict(summary_facts(plan))


def test_a_matrix_says_it_for_all_phases() -> None:
    phases = (
        {"name": "heads", "epochs": 1},
        {"name": "top", "epochs": 1, "rule": [rule("@layers[-1:]", "trainable")]},
        {"name": "all", "epochs": 1, "rule": [rule("backbone", "trainable")]},
    )
    plan = plan_of(HEADS, phases=phases)
    expected = 'execution  stored prefix up to k = all, 3, 0 of 4 in phases 1-3 (train.store = "auto")'
    assert expected in drawn(MatrixView(plan, store="auto"), 140)
    assert 'execution  no store (train.store = "off")' in drawn(MatrixView(plan, store="off"), 140)
    assert "execution" not in drawn(MatrixView(plan), 140)
