"""What a probe and a comparison say of a plan, and which files are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from freezeplan.choose.measured_advice import advice_from
from freezeplan.choose.probe_records import Baseline, Depth, ProbeCost, ProbeReport, TaskProbe
from freezeplan.choose.probe_view import ProbeView
from freezeplan.cli.program import program
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.sources import inventory_for
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Plan
from tests.render.drawing import drawn
from tests.train.tiny import toy_spec

HEADS = {"match": "heads", "state": "trainable"}
FROZEN = {"match": "**", "state": "frozen"}


def report(enough: int, baseline: float = 0.3) -> ProbeReport:
    depths = tuple(
        Depth(d, f"layer {d}", 16, 0.6 + d / 10, 0.02, None, None, 0.0, 0.0, 1.0) for d in range(3)
    )
    task = TaskProbe(
        "topic",
        "classification",
        "accuracy",
        "binomial",
        {"train": 9},
        depths,
        (Baseline("words", baseline, 0.1),),
        2,
        enough,
    )
    return ProbeReport("m", ("a", "b"), (task,), (), ProbeCost(1.0, 1.0, 9, 9))


def plan_of(toy: Path, *rules: dict[str, str]) -> Plan:
    spec = toy_spec(toy, rule=[FROZEN, HEADS, *rules])
    return compile_plan(inventory_for(spec), spec)


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_probe_keeps_the_titles_of_its_columns(width: int) -> None:
    (task,) = report(1).tasks
    depths = [replace(item, gain=0.1, gain_error=0.05) for item in task.depths]
    task = replace(task, depths=tuple(depths), baselines=(Baseline("TF-IDF and a linear fit", 0.867, 0.088),))
    text = drawn(ProbeView(replace(report(1), tasks=(task,))), width)
    assert "layers" in text and "…" not in text


def told(path: Path, plan: Plan, found: ProbeReport) -> list[str]:
    path.write_text(json.dumps(found.to_record()), "utf-8")
    return [item.text for item in advice_from(path, plan)]


def test_a_probe_is_held_against_what_the_plan_freezes(toy: Path, tmp_path: Path) -> None:
    file = tmp_path / "probe.json"
    top = {"match": "@layers[-1]", "state": "trainable"}
    (same,) = told(file, plan_of(toy, top), report(1))
    assert "after 1 of 2 layers, and the plan keeps 1 frozen throughout" in same
    (less,) = told(file, plan_of(toy, top), report(2))
    assert "freeze `@layers[:2]` first" in less
    (more,) = told(file, plan_of(toy), report(1))
    assert "keeps 2 frozen throughout: where results lack, thaw `@layers[1:]`" in more


def test_what_words_alone_do_is_said(toy: Path, tmp_path: Path) -> None:
    _, words = told(tmp_path / "probe.json", plan_of(toy), report(2, baseline=0.79))
    assert "words does as well without a network (0.790)" in words


def test_a_file_of_something_else_is_refused(toy: Path, tmp_path: Path) -> None:
    file, plan = tmp_path / "x.json", plan_of(toy)
    for text in ("", "[]", "{}", '{"trials": 3}', json.dumps({"format_version": 1, "trials": []})):
        file.write_text(text, "utf-8")
        assert code_of(file, plan) == "FP597"
    file.write_text(json.dumps(replace(report(1), layers=("a", "b", "c")).to_record()), "utf-8")
    assert code_of(file, plan) == "FP597"
    assert code_of(tmp_path / "nothing.json", plan) == "FP597"


def code_of(file: Path, plan: Plan) -> str:
    with pytest.raises(DiagnosticError) as caught:
        advice_from(file, plan)
    return caught.value.diagnostics[0].code


def test_show_prints_it_below_the_plan(toy: Path, tmp_path: Path) -> None:
    file = tmp_path / "probe.json"
    file.write_text(json.dumps(report(1).to_record()), "utf-8")
    spec = toy / "shown.toml"
    spec.write_text(SPEC, "utf-8")
    found = CliRunner().invoke(program, ["show", str(spec), "--from", str(file)], standalone_mode=False)
    assert found.exception is None, found.exception
    assert "thaw `@layers[1:]` first" in " ".join(found.stdout.split())
    assert "arxiv.org/abs/1801.06146" in found.stdout


SPEC = """
[model]
source = "bert"

[[rule]]
match = "**"
state = "frozen"

[[rule]]
match = "heads"
state = "trainable"

[[task]]
name = "topic"
labels = ["app", "mail"]
"""
