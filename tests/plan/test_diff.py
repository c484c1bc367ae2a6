"""Differences between plans: each is found, said once for all its tensors, and of the right kind."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from freezeplan.plan.diff import diff_records
from freezeplan.plan.document import to_json
from freezeplan.render.diff import difference_lines
from freezeplan.spec.reading import load_spec
from tests.plan.matching import compile_plan, named

MODEL = named("body.0.weight", "body.0.bias", "body.1.weight", "head.weight", "head.bias")
RULES = [
    {"name": "body", "match": "body", "state": "frozen"},
    {"name": "head", "match": "head", "state": "trainable", "lr_mult": 2.0},
]
THAW = {"name": "thaw", "match": "body.1", "state": "trainable", "lr_mult": 0.5}
SPEC: dict[str, Any] = {
    "optimizer": {"lr": 1e-3, "no_decay": ["**.bias"]},
    "rule": RULES,
    "phase": [{"name": "first", "epochs": 1}, {"name": "second", "epochs": 2, "rule": [THAW]}],
}


def record(change: dict[str, Any] | None = None) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    for path, value in (change or {}).items():
        table: Any = spec
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in parents:
            table = table[part] if isinstance(table, list) else table.setdefault(part, {})
        table[last] = value
    return json.loads(to_json(compile_plan(MODEL, load_spec(spec))))


def found(change: dict[str, Any]) -> list[tuple[str, str | None, str, int]]:
    return [
        (item.kind, item.phase, item.what, len(item.names)) for item in diff_records(record(), record(change))
    ]


def test_equal_plans_have_no_difference() -> None:
    assert diff_records(record(), record()) == ()


CASES: dict[str, tuple[dict[str, Any], list[tuple[str, str | None, str, int]]]] = {
    "rate of a rule": (
        {"rule.1.lr_mult": 3.0},
        [("lr", "first", "lr", 2), ("lr", "second", "lr", 2)],
    ),
    "rate in a phase": ({"phase.1.rule.0.lr_mult": 0.25}, [("lr", "second", "lr", 1)]),
    "weight decay": (
        {"rule.1.weight_decay": 0.5},
        [("lr", "first", "weight_decay", 1), ("lr", "second", "weight_decay", 1)],
    ),
    "options": (
        {"rule.1.eps": 1e-6},
        [("lr", "first", "options", 2), ("lr", "second", "options", 2)],
    ),
    "length": ({"phase.1.epochs": 3}, [("epochs", "second", "length", 0)]),
    "schedule": (
        {"schedule.name": "cosine"},
        [("lr", "first", "schedule", 0), ("lr", "second", "schedule", 0)],
    ),
    "format of frozen weights": (
        {"model": {"frozen_dtype": "bfloat16"}},
        [("model", None, "frozen_dtype", 0)],
    ),
    "name of a rule": ({"rule.1.name": "the head"}, []),
    "names of phases": ({"phase.0.name": "one"}, [("phases", None, "phases", 0)]),
}


@pytest.mark.parametrize("case", CASES)
def test_each_difference_is_found_once_and_has_its_kind(case: str) -> None:
    change, expected = CASES[case]
    assert found(change) == expected


def test_what_trains_is_of_the_kind_state() -> None:
    kinds = {kind for kind, *_ in found({"phase.1.rule.0.match": "body"})}
    assert "state" in kinds
    (states,) = [
        item
        for item in diff_records(record(), record({"phase.1.rule.0.match": "body"}))
        if item.what == "state"
    ]
    assert (states.before, states.after, states.names) == (
        "frozen",
        "trainable",
        ("body.0.weight", "body.0.bias"),
    )


def test_another_optimizer_and_another_model_are_never_rates() -> None:
    assert ("optimizer", None, "optimizer", 0) in found({"optimizer.name": "sgd"})
    other = record()
    for phase in other["phases"]:
        phase["parameters"][0]["shape"] = [7]
        phase["parameters"].pop()
    kinds = [(item.kind, item.what, item.names) for item in diff_records(record(), other)]
    assert kinds == [("model", "tensor", ("head.bias",)), ("model", "shape", ("body.0.weight",))]


def test_lines_say_where_what_and_for_which_tensors() -> None:
    change = {"phase.1.rule.0.lr_mult": 0.25, "phase.0.epochs": 2}
    assert difference_lines(diff_records(record(), record(change))) == [
        "phase `first`: length count 1 -> 2",
        "phase `second`: lr 5e-04 -> 2.5e-04 (1 tensor: `body.1.weight`)",
    ]
