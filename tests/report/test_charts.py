"""What charts are laid out from: fewer points that draw the same line, scales, the plan as layers x phases."""

from __future__ import annotations

from math import log10, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.report.course import course_of
from freezeplan.report.dot_chart import Scored, cost_chart
from freezeplan.report.grid import MOST_ROWS, grid_rows
from freezeplan.report.grid_chart import grid_chart
from freezeplan.report.line_chart import ChartLine, line_chart
from freezeplan.report.records import Series
from freezeplan.report.scales import Scale, scale_over
from freezeplan.report.thinning import MOST_BEFORE, TOLERANCE, thinned_rates
from freezeplan.spec.reading import load_spec
from tests.plan.matching import named, rule

RATES = st.lists(st.floats(1e-7, 1e-2), min_size=1, max_size=60)
FINITE = st.floats(-1e300, 1e300)


@given(RATES)
def test_a_thinned_line_passes_by_every_point(rates: list[float]) -> None:
    points = [(step, rate) for step, rate in enumerate(rates)]
    kept = thinned_rates(points)
    assert kept[0] == points[0] and kept[-1] == points[-1]
    for (left, low), (right, high) in zip(kept, kept[1:], strict=False):
        for step, rate in points[left : right + 1]:
            share = (step - left) / (right - left)
            line = log10(low) + share * (log10(high) - log10(low))
            assert abs(log10(rate) - line) <= TOLERANCE + 1e-9


def test_a_straight_line_of_very_many_steps_is_its_ends_and_its_highest_point() -> None:
    points = [(step, 1e-3 if step == 777 else 1e-4) for step in range(20 * MOST_BEFORE)]
    kept = thinned_rates(points)
    assert (777, 1e-3) in kept
    assert len(kept) <= 6


@given(st.lists(FINITE, min_size=1), st.booleans())
def test_every_value_has_a_place_on_its_scale_and_so_has_every_tick(values: list[float], log: bool) -> None:
    scale = scale_over(values, 200.0, 10.0, log=log)
    assert all(10.0 <= scale.at(value) <= 200.0 for value in values)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 12
    assert all(10.0 <= place <= 200.0 for place, _ in ticks)


def test_larger_values_stand_higher() -> None:
    scale = scale_over([1e-6, 1e-2], 100.0, 0.0, log=True)
    assert scale == Scale(1e-6, 1e-2, 100.0, 0.0, log=True)
    assert [scale.at(value) for value in (0.0, 1e-6, 1e-4, 1e-2)] == [100.0, 100.0, 50.0, 0.0]


def deep_plan(layers: int = 48, per_phase: int = 8, **more: object) -> Plan:
    names = [f"backbone.layer.{place}.{kind}" for place in range(layers) for kind in ("w", "bias")]
    inventory = named("backbone.emb.w", *names, *(f"heads.t{task}.w" for task in range(5)))
    starts = range(layers, -1, -per_phase)
    phases = [
        {
            "name": f"from {start}",
            "epochs": 1,
            "rule": [rule(f"backbone.layer.{{{start}..{layers - 1}}}", "trainable", lr=1e-5)],
        }
        if start < layers
        else {"name": "heads", "epochs": 1}
        for start in starts
    ]
    rules = [rule("**", "frozen", name="all"), rule("heads", "trainable", name="heads", lr=1e-3)]
    tasks = [{"name": f"t{task}", "labels": ["x", "y"]} for task in range(5)]
    return compile_plan(inventory, load_spec({"rule": rules, "phase": phases, "task": tasks, **more}))


def test_rows_hold_every_parameter_once_and_say_what_the_plan_says() -> None:
    plan = deep_plan()
    rows = grid_rows(plan)
    assert sum(row.parameters for row in rows) == plan.numel
    assert len(rows) == 1 + 48 + 5
    for place, phase in enumerate(plan.phases):
        trains = sum(row.parameters for row in rows if row.cells[place].share == 1.0)
        assert trains == phase.trainable_numel
        assert {row.cells[place].low for row in rows if row.name.startswith("heads")} == {1e-3}


def test_a_layer_of_which_a_part_trains_says_how_much() -> None:
    phases = [{"name": "all", "epochs": 1, "rule": [rule("backbone.layer.3.w", "trainable", lr=1e-5)]}]
    row = next(row for row in grid_rows(deep_plan(phase=phases)) if row.name == "layer.3")
    assert (row.cells[0].share, row.cells[0].low) == (0.5, 1e-5)


def test_a_grid_of_very_many_layers_joins_those_that_are_alike() -> None:
    plan = deep_plan(layers=4)
    names = tuple(f"p.{place}.w" for place in range(MOST_ROWS + 20))
    alike = compile_plan(named(*names, "z.w"), load_spec({"rule": [rule("**", "trainable", name="all")]}))
    assert len(grid_rows(alike)) < 4
    assert sum(row.parameters for row in grid_rows(alike)) == alike.numel
    chart = grid_chart(grid_rows(plan), [phase.name for phase in plan.phases])
    assert len({(block.x, block.y) for block in chart.blocks}) == len(chart.blocks)


def test_blocks_lie_side_by_side_and_fill_their_row() -> None:
    plan = deep_plan()
    chart = grid_chart(grid_rows(plan), [phase.name for phase in plan.phases])
    for row in grid_rows(plan):
        blocks = [block for block in chart.blocks if block.title.startswith(f"{row.name},")]
        ends = [block.x + block.width + 2 for block in blocks]
        assert [block.x for block in blocks[1:]] == pytest.approx(ends[:-1], abs=0.2)
        assert ends[-1] == pytest.approx(chart.width - 6, abs=0.2)


def test_rates_are_parted_where_phases_begin_and_groups_that_go_alike_are_one() -> None:
    def step(number: int, **rates: float) -> dict[str, object]:
        return {"kind": "step", "epoch": 1, "step": number, "losses": {"t": nan}, "rates": rates}

    both = {"heads": 1e-3, "heads/no_decay": 1e-3}
    log = [
        step(1, **both),
        step(2, **both),
        {"kind": "phase", "phase": "a", "step": 2},
        step(3, **both, top=1e-5),
    ]
    course = course_of(log, "b")
    assert course is not None
    assert course.boundaries == ((2, "a"),)
    heads, top = course.rates
    assert (heads.name, [len(part) for part in heads.parts]) == ("heads", [2, 1])
    assert (top.name, top.parts) == ("top", (((3, 1e-5),),))


def test_what_is_no_number_leaves_a_gap() -> None:
    points = ((1, 1.0), (2, 2.0), (3, nan), (4, 3.0), (5, 2.0), (6, nan), (7, 1.0))
    chart = line_chart("x", [ChartLine(Series("x", (points,)))], ("step", "x"))
    (line,) = chart.lines
    assert line.path.count("M") == 2
    assert len(line.dots) == 1


def test_many_lines_are_shaded_and_named_by_their_ends() -> None:
    lines = [ChartLine(Series(f"g{place}", (((1, 1.0 + place), (2, 2.0)),))) for place in range(50)]
    chart = line_chart("x", lines, ("step", "x"))
    assert [line.name for line in chart.keys] == ["g0", "g49"]
    assert [chart.lines[0].shade, chart.lines[-1].shade] == [0, 100]


def test_numbers_of_dots_that_lie_on_each_other_stand_beside_the_first() -> None:
    items = [
        Scored(name, 0.5, 0.1, cost, True, False) for name, cost in (("a", 1.0), ("b", 1.01), ("c", 50.0))
    ]
    chart = cost_chart("x", items, ("s", "score"))
    assert [dot.text for dot in chart.dots] == ["1, 2", "", "3"]
    assert chart.dots[0].high < chart.dots[0].y < chart.dots[0].low
