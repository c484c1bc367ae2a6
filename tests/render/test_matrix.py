"""A plan in phases on the console and as a picture: rates, lengths, what changes at each boundary."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.plan.why import explain
from freezeplan.render.matrix import MatrixView, matrix_lines
from freezeplan.render.rows import plan_rows
from freezeplan.render.summary import groups_line
from freezeplan.render.timeline import timeline_svg
from freezeplan.spec.reading import load_spec
from freezeplan.spec.validators import metric_advice
from tests.plan.matching import named, rule
from tests.render.drawing import drawn

TOWER = named("emb.weight", "layer.0.w", "layer.1.w", "heads.a.w", "heads.a.bias")
SVG = "{http://www.w3.org/2000/svg}"


def plan_of(*phases: dict[str, Any], **more: Any) -> Plan:
    """Compile phases over a frozen tower whose head trains at 1e-3."""
    rules = [rule("**", "frozen", name="all"), rule("heads", "trainable", name="heads", lr=1e-3)]
    spec = {
        "optimizer": {"no_decay": ["**.bias"]}, "rule": rules, "phase": list(phases),
        "task": [{"name": "a", "labels": ["x", "y"]}], **more,
    }  # fmt: skip
    return compile_plan(TOWER, load_spec(spec))


THAW = {"name": "thaw", "epochs": 2, "rule": [rule("layer.1", "trainable", lr=1.23456789e-5, name="top")]}
FREEZE = {"name": "freeze", "steps": 30, "rule": [rule("heads", "frozen"), rule("layer.1", lr=1e-5)]}
AGAIN = {
    "name": "again",
    "until": {"metric": "a/loss", "target": 0.5, "max_epochs": 4},
    "on_thaw": "keep",
    "rule": [rule("heads", "trainable")],
}
PLAN = plan_of({"name": "start", "epochs": 1}, THAW, FREEZE, AGAIN, schedule={"warmup": 0.1})


def test_lines_hold_the_rates_of_every_phase() -> None:
    found = {line.label: line.rates for line in matrix_lines(PLAN)}
    assert found == {
        "all": (None, None, None, None),
        "top": (None, 1.23456789e-5, 1e-5, 1e-5),
        "heads": (1e-3, 1e-3, None, 1e-3),
    }
    assert sum(line.tensors for line in matrix_lines(PLAN)) == len(PLAN.params)


def test_the_matrix_shows_rates_and_phases() -> None:
    text = drawn(MatrixView(PLAN))
    lines = [line.split() for line in text.splitlines()]
    assert ["top", "1", "2", "frozen", "~1.23e-05", "1e-05", "1e-05"] in lines
    assert ["heads", "2", "4", "1e-03", "1e-03", "frozen", "1e-03"] in lines
    assert "until a/loss (<= 0.5), at most 4 epochs" in text
    assert "thaws 2 tensors; optimizer state of 2 thawed again is kept" in text
    assert "linear, warm-up 10 %, again in each of the phases 1-3, 4" in text


def test_a_narrow_console_gets_the_same_as_lines() -> None:
    text = drawn(MatrixView(PLAN), 50)
    assert "phase 1 frozen, 2 at ~1.23e-05, 3-4 at 1e-05" in text
    assert all(len(line) <= 50 for line in text.splitlines())
    assert "again" in text


def test_the_end_of_a_run_by_a_target_is_shown() -> None:
    stop = {"stop_when": {"metric": "a/accuracy", "at_least": 0.9}}
    plan = plan_of({"name": "start", "epochs": 1}, THAW, train=stop)
    assert "stops when  a/accuracy >= 0.9" in drawn(MatrixView(plan))
    assert "schedule    linear\n" in drawn(MatrixView(plan))


def test_the_picture_has_a_cell_for_each_group_and_phase() -> None:
    root = ElementTree.fromstring(timeline_svg(PLAN))
    cells = [node for node in root.iter(f"{SVG}rect") if node.get("rx")]
    frozen = [node for node in cells if node.get("fill") == "#e4e7eb"]
    assert (len(cells), len(frozen)) == (12, 4 + 1 + 1)
    words = [node.text for node in root.iter(f"{SVG}text")]
    assert words.index("heads") < words.index("top") < words.index("all")
    assert "1e-03" in words


def test_columns_are_as_wide_as_phases_are_long_and_do_not_overlap() -> None:
    root = ElementTree.fromstring(timeline_svg(PLAN))
    first_row = [node for node in root.iter(f"{SVG}rect") if node.get("rx")][:4]
    starts = [float(node.get("x")) for node in first_row]
    widths = [float(node.get("width")) for node in first_row]
    assert widths == pytest.approx([widths[0] * size for size in (1, 2, 1, 4)], abs=0.2)
    for start, width, after in zip(starts, widths, starts[1:], strict=False):
        assert start + width < after


def test_hundreds_of_phases_are_drawn_beside_each_other() -> None:
    plan = plan_of(
        {"name": "start", "epochs": 2**62}, *({"name": f"p{at}", "steps": 2**62} for at in range(300))
    )
    cells = [node for node in ElementTree.fromstring(timeline_svg(plan)).iter(f"{SVG}rect") if node.get("rx")]
    assert all(float(node.get("width")) > 0 for node in cells)
    assert max(float(node.get("x")) for node in cells) < 1000


def test_names_are_escaped_in_the_picture() -> None:
    plan = plan_of(
        {"name": "<a> & b", "epochs": 1}, {**THAW, "rule": [rule("layer.1", "trainable", name="x<y")]}
    )
    words = [node.text for node in ElementTree.fromstring(timeline_svg(plan)).iter(f"{SVG}text")]
    assert {"x<y", "1 <a> & b", "2 thaw"} <= set(words)


def test_the_picture_names_its_axes_and_its_phases() -> None:
    root = ElementTree.fromstring(timeline_svg(PLAN))
    words = [node.text or "" for node in root.iter(f"{SVG}text")]
    assert "group, the top of the model above" in words
    assert any(text.startswith("phase, as wide as it is long") for text in words)
    assert {"1 start", "2 thaw", "3 freeze", "4 again"} <= set(words)


def test_phases_without_room_for_their_names_are_listed_below_the_picture() -> None:
    plan = plan_of(
        {"name": "start", "epochs": 1}, *({"name": f"phase {at} of many", "steps": 5} for at in range(12))
    )
    root = ElementTree.fromstring(timeline_svg(plan))
    texts = {node.text: float(node.get("y", 0)) for node in root.iter(f"{SVG}text")}
    cells = [float(node.get("y", 0)) for node in root.iter(f"{SVG}rect") if node.get("rx")]
    assert max(cells) < texts["13 phase 11 of many: 5 steps"] < float(root.get("height", 0))


def test_groups_without_decay_are_counted_where_names_are_numbered() -> None:
    model = named("layer.0.w", "layer.1.w", "layer.1.bias", "heads.a.w", "heads.a.bias")
    rules = [rule("**", "frozen", name="all"), rule(["layer.1", "heads"], "trainable", name="top")]
    other = {"name": "next", "epochs": 1, "rule": [rule("layer.1", "trainable", name="other")]}
    phases = [{"name": "start", "epochs": 1}, other]
    tables = {"rule": rules, "phase": phases, "task": [{"name": "a", "labels": ["x", "y"]}]}
    plan = compile_plan(model, load_spec({"optimizer": {"no_decay": ["**.bias"]}} | tables))
    assert [group.name for group in plan.groups] == ["top", "top/no_decay", "top (2)", "top/no_decay (2)"]
    assert groups_line(plan).startswith("4 in the optimizer, 2 of them without")
    rows = [row for row in plan_rows(plan) if row.trainable]
    assert [(row.group, row.weight_decay) for row in rows] == [("top", (0.01, 0.0)), ("top (2)", (0.01, 0.0))]


def test_a_rate_is_written_alike_and_a_strange_name_gets_help() -> None:
    spec = load_spec({"optimizer": {"lr": 1e-4}, "rule": [rule("**", "trainable")]})
    (found, *_) = explain(named("layer.0.w"), spec, "layer.0.w").notes[::-1]
    assert found == "no rule sets a rate: the base rate of [optimizer], 1e-04"
    with pytest.raises(DiagnosticError, match="--params"):
        explain(named("layer.0.w"), spec, "entirely.different")
    assert metric_advice("accuracy") == "did you mean `TASK/accuracy`?"
