from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from freezeplan.diagnostics.wording import format_rate
from freezeplan.plan.records import FrozenPrefix, Group, Plan, PlannedParam
from freezeplan.render.rows import plan_rows
from freezeplan.render.summary import summary_facts
from freezeplan.render.table import PlanView
from tests.render.drawing import drawn
from tests.render.plans import small_plan

PLAN = small_plan()
NAMES = ("everything", "upper", "upper/no_decay", "heads", "@layers[-2:]", "distilbert-base-uncased")


def cells(out: str) -> list[list[str]]:
    """Return the table's rows as lists of cells."""
    table = out.split("\n\n")[0].splitlines()
    return [re.split(r"  +", line) for line in table]


def test_the_table_says_what_each_group_gets():
    head, rule, *rows = cells(drawn(PlanView(PLAN)))
    assert head == ["group", "selected by", "state", "LR", "weight decay", "tensors", "parameters"]
    assert set(rule[0]) == {"─"}
    assert rows == [
        ["everything", "**", "frozen", "-", "-", "2", "24,030,720"],
        ["upper", "@layers[-2:]", "trainable", "1e-05", "0.01 / 0", "2", "590,592"],
        ["heads", "heads", "trainable", "2e-04", "0.01", "1", "1,536"],
    ]


def test_unfolded_every_group_has_a_line():
    rows = cells(drawn(PlanView(PLAN, folded=False)))[2:]
    assert rows[1:3] == [
        ["upper", "@layers[-2:]", "trainable", "1e-05", "0.01", "1", "589,824"],
        ["upper/no_decay", "@layers[-2:]", "trainable", "1e-05", "0", "1", "768"],
    ]
    assert len(rows) == len(PLAN.groups) + len(PLAN.frozen)


def test_the_summary_says_that_groups_share_a_line_where_they_do():
    line = "3 in the optimizer, 1 of them without weight decay (no_decay); --groups shows each"
    assert f"groups         {line}\n" in drawn(PlanView(PLAN))
    assert "--groups" not in drawn(PlanView(PLAN, folded=False))


def test_rates_are_rounded_where_groups_are_folded_and_only_there():
    groups = tuple(replace(group, lr=(1.23456789e-5,)) for group in PLAN.groups)
    plan = replace(PLAN, groups=groups)
    assert "~1.23e-05" in drawn(PlanView(plan)) and "1.23456789e-05" not in drawn(PlanView(plan))
    assert drawn(PlanView(plan, folded=False)).count(" 1.23456789e-05") == 3


RATES = [1e-5, *(1.5e-5 + 1e-6 * step for step in range(58)), 9e-5]


def decayed(layers: int, *, odd: int | None = None) -> Plan:
    """Return a plan whose rule has a pair of groups per layer; the layer ``odd`` is larger."""
    groups = []
    for layer in range(layers):
        for name, decay in (("", 0.01), ("/no_decay", 0.0)):
            label = f"all/layer {layer}{name}"
            size = 100 if layer == odd else 10
            group = Group(label, "all", "**", (f"{label} weight",), size, (RATES[layer],), (decay,), ((),))
            groups.append(group)
    params = [
        PlannedParam(group.members[0], (), (group.numel,), "float32", group.numel, None) for group in groups
    ]
    return replace(PLAN, params=tuple(params), groups=tuple(groups), frozen=())


def test_a_long_table_folds_alike_layers_and_says_from_which_rate_to_which():
    short, long = plan_rows(decayed(20)), plan_rows(decayed(24))
    assert [row.group for row in short] == [f"all/layer {layer}" for layer in range(20)]
    assert [(row.group, row.lr, row.weight_decay, row.tensors, row.parameters) for row in long] == [
        ("all/layers 0-23", (1e-5, RATES[23]), (0.01, 0.0), 48, 480)
    ]
    assert f"1e-05 to {RATES[23]:.1e}" in drawn(PlanView(decayed(24)))


def test_layers_that_differ_in_more_than_their_rate_stay_apart():
    rows = plan_rows(decayed(24, odd=7))
    assert [row.group for row in rows] == ["all/layers 0-6", "all/layer 7", "all/layers 8-23"]
    assert sum(row.parameters for row in rows) == decayed(24, odd=7).numel


@given(st.integers(1, 60), st.integers(0, 59))
def test_folding_loses_no_tensor_no_parameter_and_no_extreme_rate(layers: int, odd: int):
    plan = decayed(layers, odd=odd)
    folded, single = plan_rows(plan), plan_rows(plan, folded=False)
    for field in ("tensors", "parameters"):
        assert sum(getattr(row, field) for row in folded) == sum(getattr(row, field) for row in single)
    for pick in (min, max):
        assert pick(rate for row in folded for rate in row.lr) == pick(
            rate for row in single for rate in row.lr
        )
    assert len(folded) <= max(20, 3)


def test_the_summary_counts_what_trains_and_what_is_accounted_for():
    facts = dict(summary_facts(PLAN))
    assert facts["model"] == "distilbert-base-uncased (architecture defaults)"
    assert facts["trainable"] == "592,128 of 24,622,848 parameters (2.4 %)"
    assert facts["coverage"] == "5 of 5 tensors accounted for (100 %)"
    assert facts["optimizer"] == "adamw, base LR 2e-05, weight decay 0.01; 4.5 MiB of state"
    assert facts["frozen prefix"] == "1 of 2 layers of backbone.transformer.layer, with all before them"
    assert facts["eval mode"].startswith("2 modules ")
    assert "kept in train mode" not in facts


def test_coverage_is_counted_and_not_asserted():
    lost = replace(PLAN, groups=PLAN.groups[1:])
    assert dict(summary_facts(lost))["coverage"] == "4 of 5 tensors accounted for (80.0 %)"


def test_facts_that_say_nothing_are_left_out():
    phase = replace(
        PLAN.phases[0],
        frozen_prefix=FrozenPrefix(None, 0, 0),
        eval_modules=(),
        kept_in_train_mode=("a.b", ""),
    )
    facts = dict(summary_facts(replace(PLAN, phases=(phase,), origin="")))
    assert "frozen prefix" not in facts and "eval mode" not in facts
    assert facts["model"] == "distilbert-base-uncased"
    assert facts["kept in train mode"] == "a.b, the whole model"


def test_rows_follow_the_model_and_keep_a_rule_together():
    groups = ["everything", "upper", "upper/no_decay", "heads"]
    assert [row.group for row in plan_rows(PLAN, folded=False)] == groups
    shuffled = replace(PLAN, groups=PLAN.groups[::-1])
    assert plan_rows(shuffled) == plan_rows(PLAN)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_every_name_is_whole_and_every_line_fits(width):
    out = drawn(PlanView(PLAN, folded=False), width)
    assert all(name in out for name in NAMES)
    assert max(map(cell_len, out.splitlines())) <= width
    assert "…" not in out


@pytest.mark.parametrize("width", range(70, 90))
def test_a_number_is_never_folded_to_save_room(width):
    groups = tuple(replace(group, weight_decay=(0.01234567,)) for group in PLAN.groups)
    assert drawn(PlanView(replace(PLAN, groups=groups), folded=False), width).count("0.01234567") == 3


def test_a_narrow_console_gives_up_the_state_and_then_the_columns():
    head, _, frozen, upper, _ = (line.split() for line in drawn(PlanView(PLAN), 68).splitlines()[1:6])
    assert head == ["group", "selected", "by", "LR", "decay", "tensors", "parameters"]
    assert frozen == ["everything", "**", "frozen", "-", "2", "24,030,720"]
    assert upper == ["upper", "@layers[-2:]", "1e-05", "0.01", "/", "0", "2", "590,592"]
    out = drawn(PlanView(PLAN, folded=False), 40)
    assert (
        "upper/no_decay  trainable\n  LR 1e-05, weight decay 0, 768\n  parameters in 1 tensor, by\n  @layers[-2:]\n"
        in out
    )
    assert "everything  frozen\n" in out


def test_names_longer_than_the_console_are_folded_and_never_cut():
    name = "backbone." + "very_long_module_name." * 6 + "weight"
    plan = replace(PLAN, groups=tuple(replace(group, name=name + group.name) for group in PLAN.groups))
    joined = drawn(PlanView(plan, folded=False), 50).replace("\n", "").replace(" ", "")
    assert all(name + group.name in joined for group in PLAN.groups)


@given(
    st.lists(st.text("ab[]@:-中 ", min_size=1, max_size=40), min_size=3, max_size=3),
    st.lists(st.floats(1e-9, 1), min_size=3, max_size=3),
)
def test_wherever_width_is_no_limit_every_group_is_one_whole_line(patterns, rates):
    groups = tuple(
        replace(group, selected_by=pattern.strip() or "x", lr=(rate,))
        for group, pattern, rate in zip(PLAN.groups, patterns, rates, strict=True)
    )
    lines = drawn(PlanView(replace(PLAN, groups=groups), folded=False)).splitlines()
    for group in groups:
        wanted = (group.selected_by, format_rate(group.lr[0]), f"{group.numel:,}")
        own = [line for line in lines if re.match(rf"{re.escape(group.name)} ", line)]
        assert len(own) == 1 and all(part in own[0] for part in wanted)


def test_markup_and_escapes_in_names_are_shown_and_not_obeyed():
    group = replace(PLAN.groups[0], name="[red]x[/red]", selected_by="re:[abc]\x1b[31m:smile:")
    out = drawn(PlanView(replace(PLAN, groups=(group, *PLAN.groups[1:]))))
    assert "[red]x[/red]" in out and "re:[abc]\ufffd[31m:smile:" in out and "\x1b" not in out


def test_options_have_a_column_where_a_group_has_its_own():
    own = (("betas", (0.9, 0.98)), ("eps", 1e-6))
    group = replace(PLAN.groups[0], options=(own,))
    plan = replace(
        PLAN,
        groups=(group, *PLAN.groups[1:]),
        optimizers=(replace(PLAN.optimizers[0], options=(("eps", 1e-6),)),),
    )
    out = drawn(PlanView(plan))
    assert "  options  " in out.splitlines()[0] and "betas = [0.9, 0.98]" in out
    assert "eps" not in out.splitlines()[4]
    assert "options" not in drawn(PlanView(PLAN)).splitlines()[0]


def test_an_ascii_console_gets_ascii():
    assert drawn(PlanView(PLAN), ascii_only=True).isascii()
    assert not drawn(PlanView(PLAN)).isascii()


def test_colour_changes_nothing_but_colour():
    colored = drawn(PlanView(PLAN), 100, color=True)
    plain = "".join(f"{line.rstrip()}\n" for line in re.sub(r"\x1b\[[\d;]*m", "", colored).splitlines())
    assert "\x1b[" in colored and plain == drawn(PlanView(PLAN), 100)


def test_each_phase_has_its_own_table():
    frozen = replace(PLAN.phases[0], name="thaw")
    groups = tuple(
        replace(group, lr=(*group.lr, None), weight_decay=group.weight_decay * 2, options=((), ()))
        for group in PLAN.groups
    )
    out = drawn(PlanView(replace(PLAN, phases=(PLAN.phases[0], frozen), groups=groups)))
    first, second = out.split("phase 2: thaw\n")
    assert first.startswith("phase 1: train\n") and first.count("trainable ") == 3
    assert "1e-05" not in second.split("\n\n")[0]


def test_a_model_without_parameters_has_a_table_too():
    phase = replace(PLAN.phases[0], assignments=(), trainable_numel=0)
    empty = replace(PLAN, params=(), groups=(), frozen=(), phases=(phase,))
    assert "0 of 0 tensors accounted for (100 %)" in drawn(PlanView(empty))
