"""A lock says what the plan does, reads back to that, and is refused with its line where it is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.changes import compare
from freezeplan.plan.comparable import comparable
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.document import to_record
from freezeplan.plan.lock import lock_text
from freezeplan.plan.lock_reading import read_lock
from freezeplan.plan.records import Plan
from freezeplan.render.changes import change_lines
from freezeplan.spec.reading import load_spec
from tests.plan.matching import named, rule
from tests.plan.test_reading import plans

HEAD = {"spec": {"a.toml": "0123"}, "libraries": {"torch": "2.0"}}


def written(plan: Plan) -> str:
    record = comparable(json.loads(json.dumps(to_record(plan))))
    return lock_text(record, HEAD | {"model": record["model"]}, "a.toml")


def plain(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as a lock can hold it: tensors by name, without which rule decided each property."""
    for phase in record["phases"]:
        phase["parameters"] = {row["name"]: {**row, "decided_by": {}} for row in phase["parameters"]}
    return record


@settings(max_examples=150)
@given(plans())
def test_a_lock_reads_back_to_what_plans_are_compared_by(plan: Plan) -> None:
    found = read_lock(written(plan), "a.lock")
    assert plain(dict(found.record)) == plain(comparable(json.loads(json.dumps(to_record(plan)))))
    assert {key: found.head[key] for key in HEAD} == HEAD


@settings(max_examples=60)
@given(plans())
def test_a_lock_has_one_line_per_tensor_sorted(plan: Plan) -> None:
    lines = written(plan).partition("[tensors]\n")[2].splitlines()
    assert lines == sorted(lines)
    assert [json.loads(line.partition(" = ")[0]) for line in lines] == [
        name
        for _, name in sorted((json.dumps(p.name, ensure_ascii=False) + " =", p.name) for p in plan.params)
    ]


MODEL = named(
    "body.0.weight", "body.0.bias", "body.1.weight", "head.weight", ties={"head.weight": "body.1.weight"}
)


def small_lock(name: str = "all") -> str:
    spec = {
        "optimizer": {"lr": 1e-3, "no_decay": ["**.bias"]},
        "rule": [rule("**", "frozen", name=name), rule("body.0", "trainable", name="low", lr_mult=2.0)],
        "phase": [
            {"name": "first", "epochs": 1},
            {"name": "second", "steps": 4},
            {
                "name": "third",
                "epochs": 1,
                "rule": [rule(["body.1", "head"], "trainable", name="rest", betas=[0.8, 0.9], eps=1e-6)],
            },
        ],
    }
    return written(compile_plan(MODEL, load_spec(spec)))


def test_a_line_says_what_is_done_to_a_tensor_in_each_phase() -> None:
    assert small_lock().partition("[tensors]\n")[2].splitlines() == [
        '"body.0.bias" = "trainable, lr 2e-03, weight_decay 0 (no_decay) by low; 2 float32"',
        '"body.0.weight" = "trainable, lr 2e-03, weight_decay 0.01 by low; 2 float32"',
        '"body.1.weight" = "phases 1-2: frozen by all; phase 3: trainable, lr 1e-03, weight_decay 0.01, '
        'betas [0.8,0.9], eps 1e-06 by rest; 2 float32; also head.weight"',
    ]


@pytest.mark.parametrize("name", ["a; b", "100 %", "%3B; %20", "a, lr 3 by b", 'say "x"', "zwei ü 😀", "by"])
def test_a_rule_may_be_called_anything(name: str) -> None:
    record = read_lock(small_lock(name), "a.lock").record
    rows = {row["name"]: row for row in record["phases"][0]["parameters"]}
    assert (rows["body.1.weight"]["rule"], rows["body.0.bias"]["rule"]) == (name, "low")


EDITS: dict[str, tuple[Callable[[str], str], str, str]] = {
    "a merge": (
        lambda t: t.replace('"body.0.bias"', '<<<<<<< HEAD\n"body.0.bias"'),
        "FP582",
        "<<<<<<< HEAD",
    ),
    "cut off": (lambda t: t[: t.index("weight_decay 0.01 by low")], "FP582", '"body.0.weight"'),
    "a line twice": (lambda t: t + t.splitlines()[-1] + "\n", "FP582", '"body.1.weight"'),
    "a rate that is none": (lambda t: t.replace("lr 2e-03", "lr fast"), "FP582", '"body.0.bias"'),
    "a phase too many": (lambda t: t.replace("phase 3:", "phase 4:"), "FP582", '"body.1.weight"'),
    "a phase too few": (lambda t: t.replace("phases 1-2: frozen by all; ", ""), "FP582", '"body.1.weight"'),
    "no shape": (lambda t: t.replace("; 2 float32", ""), "FP582", '"body.0.bias"'),
    "a number for a line": (lambda t: t + '"x" = 3\n', "FP582", '"x" = 3'),
    "no optimizer": (lambda t: t.replace("[optimizer]", "[other]"), "FP582", ""),
    "no tensors": (lambda t: t.replace("[tensors]", "[others]"), "FP582", ""),
    "an empty file": (lambda t: "", "FP582", ""),
    "a spec": (lambda t: '[[rule]]\nmatch = "**"\n', "FP582", ""),
    "another version": (lambda t: t.replace('format_version = "1.0"', 'format_version = "2.0"'), "FP583", ""),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_damaged_lock_is_refused_at_its_line(edit: str) -> None:
    change, code, line = EDITS[edit]
    with pytest.raises(DiagnosticError) as caught:
        read_lock(change(small_lock()), "a.lock")
    (found,) = caught.value.diagnostics
    assert found.code == code and "`freezeplan lock SPEC`" in found.help
    assert (found.span.text if found.span else "").startswith(line) and bool(found.span) == bool(line)


@settings(max_examples=200)
@given(st.data())
def test_no_edit_of_a_lock_makes_more_than_a_diagnostic(data: st.DataObject) -> None:
    lines = small_lock().splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    line = lines[at]
    start = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(start, min(len(line), start + 12)))
    new = data.draw(
        st.sampled_from(["", "x", '"', " = 3", "[]", "0", ";", "; ", "{}", "\n", "-1", "nan", "[[phase]]\n"])
    )
    lines[at] = line[:start] + new + line[end:]
    try:
        found = read_lock("".join(lines), "a.lock")
    except DiagnosticError:
        return
    before = read_lock(small_lock(), "a.lock").record
    pairs = ((found.record, before), (before, found.record))
    assert all(line for pair in pairs for line in change_lines(compare(*pair)))
