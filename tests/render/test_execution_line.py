"""The line that says how much of a frozen part may run from the store, under a table and under a matrix."""

from __future__ import annotations

from typing import Any

import pytest

from freezeplan.inventory.from_module import inventory_of
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.plan.storing import WORTH, store_statements
from freezeplan.render.matrix import MatrixView
from freezeplan.render.summary import summary_facts
from freezeplan.render.table import PlanView
from freezeplan.spec.reading import load_spec
from tests.plan.matching import rule
from tests.prefix.architectures import ARCHITECTURES, TASKS, build
from tests.render.drawing import drawn

BERT = inventory_of(build(next(row for row in ARCHITECTURES if row.label == "bert")))
HEADS = rule("heads", "trainable")
IF_IT_PAYS = f", if its inputs run {WORTH} times or more"


def planned(*rules: dict[str, Any], store: str = "auto", **tables: Any) -> tuple[Plan, tuple[str, ...]]:
    """Return a plan for two heads on the small BERT, and what is said of its phases where rows are not known."""
    tasks = [{"name": name, "labels": ["a", "b"]} for name in TASKS]
    rules = (rule("**", "frozen"), *rules)
    spec = load_spec({"rule": [*rules], "task": tasks, "train": {"store": store}, **tables})
    plan = compile_plan(BERT, spec)
    return plan, store_statements(spec, plan, None)


@pytest.mark.parametrize(
    ("rules", "store", "line"),
    [
        ([HEADS], "auto", f"stored features of the whole backbone{IF_IT_PAYS}"),
        ([rule("@layers[-1:]", "trainable"), HEADS], "require", "stored prefix k=3 of 4"),
        (
            [rule("@layers", "trainable")],
            "auto",
            "no store: nothing is frozen below the first trainable tensor",
        ),
        ([HEADS], "off", 'no store: train.store = "off"'),
        ([], "auto", "no store: nothing trains, each input runs once"),
    ],
)
def test_a_phase_says_how_its_frozen_prefix_will_run(
    rules: list[dict[str, Any]], store: str, line: str
) -> None:
    plan, said = planned(*rules, store=store)
    assert dict(summary_facts(plan, 0, said))["execution"] == line
    assert line in drawn(PlanView(plan, execution=said), 140)
    assert "execution" not in dict(summary_facts(plan))


def test_a_matrix_says_it_for_all_phases() -> None:
    phases = [
        {"name": "heads", "epochs": 1},
        {"name": "top", "epochs": 1, "rule": [rule("@layers[-1:]", "trainable")]},
        {"name": "two", "epochs": 1, "rule": [rule("@layers[-2:]", "trainable")]},
        {"name": "all", "epochs": 1, "rule": [rule("backbone", "trainable")]},
    ]
    plan, said = planned(HEADS, store="require", phase=phases)
    text = drawn(MatrixView(plan, execution=said), 140)
    assert [line.strip() for line in text.splitlines()[-3:]] == [
        "execution  phase 1: stored features of the whole backbone",
        "phases 2-3: stored prefix k=3, 2 of 4",
        "phase 4: no store: nothing is frozen below the first trainable tensor",
    ]
    plan, said = planned(HEADS, store="off", phase=phases[:2])
    assert 'execution  no store: train.store = "off"' in drawn(MatrixView(plan, execution=said), 140)
    assert "execution" not in drawn(MatrixView(plan), 140)
