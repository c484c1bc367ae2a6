"""Every preset on every model type: it compiles and keeps its promise, or is refused with a reason that is true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.atlas import PAGE
from benchmarks.atlas_page import (
    BEGIN,
    END,
    NO_CONFIG,
    NO_LIBRARY,
    installed,
    line_of,
    lines_in,
    unbuilt_in,
    version_in,
    with_table,
)
from benchmarks.atlas_rows import Row, row_of
from benchmarks.building import base_inventory, base_types
from benchmarks.every_type import Entry
from benchmarks.laws import broken_laws, broken_plan_laws
from benchmarks.presets import Outcome
from benchmarks.reasons import is_founded
from freezeplan.api import compile_plan
from freezeplan.diagnostics import diagnostic
from freezeplan.inventory.records import Inventory
from freezeplan.plan.records import Plan

# Small parts, so that two processes that share the work end at about the same time.
PARTS = 24
FEW = ("albert", "resnet", "t5")


def text() -> str:
    return PAGE.read_text("utf-8")


def same_version() -> bool:
    return version_in(text()) == installed()


def disagreements(rows: list[Row]) -> list[str]:
    """Return where the page says something else; a type may build here for a library that was missing there."""
    shown, unbuilt = lines_in(text()), unbuilt_in(text())
    wrong = []
    for row in rows:
        name, now = row.entry.model_type, line_of(row) if row.outcomes else row.entry.error
        said = shown.get(name) or unbuilt.get(name, "nothing")
        if said != now and (name in shown or (row.outcomes and said != NO_LIBRARY)):
            wrong.append(f"{name}: {said}\n  is now: {now}")
    return wrong


def test_a_few_types_are_as_the_page_says() -> None:
    if not same_version():
        pytest.skip(f"the page is about transformers {version_in(text())}, not {installed()}")
    rows = [row_of(name) for name in FEW]
    assert all(row.outcomes for row in rows)
    assert disagreements(rows) == []


def test_the_page_names_every_type_once() -> None:
    if not same_version():
        pytest.skip(f"the page is about transformers {version_in(text())}, not {installed()}")
    built, others = lines_in(text()), unbuilt_in(text())
    assert built.keys() | others.keys() == set(base_types())
    assert not built.keys() & others.keys()
    assert list(built) == sorted(built)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(0, PARTS, 8))
def test_every_preset_on_every_eighth_type(part: int) -> None:
    rows = [row_of(name) for name in base_types()[part::PARTS]]
    assert [f"{row.entry.model_type}: {what}" for row in rows for what in row.wrong] == []
    assert sum(bool(row.outcomes) for row in rows) > len(rows) // 2
    if same_version():
        assert disagreements(rows) == []


@pytest.fixture(scope="module")
def distilbert() -> Inventory:
    return base_inventory("distilbert")


@pytest.fixture(scope="module")
def plan(distilbert: Inventory) -> Plan:
    return compile_plan(distilbert, {"extends": "preset:top_layers"})


def test_a_plan_that_loses_a_tensor_breaks_a_law(distilbert: Inventory, plan: Plan) -> None:
    first, *rest = plan.groups
    broken = {
        "lost": replace(plan, groups=tuple(rest)),
        "twice": replace(plan, groups=(first, first, *rest)),
        "both": replace(plan, groups=(first, *rest, replace(first, members=plan.frozen[0].members[:1]))),
        "not frozen": replace(plan, frozen=()),
        "not planned": replace(plan, params=plan.params[:-1], phases=()),
        "no state": replace(plan, phases=(replace(plan.phases[0], assignments=()),)),
    }
    assert broken_plan_laws(plan, distilbert) == {}
    for name in ("lost", "twice", "both", "not frozen"):
        assert list(broken_plan_laws(broken[name], distilbert)) == ["groups_part_what_trains"], name
    for name in ("not planned", "no state"):
        assert "every_tensor_has_one_state" in broken_plan_laws(broken[name], distilbert), name


def test_a_layer_in_another_stage_breaks_a_law() -> None:
    found = base_inventory("resnet")
    assert broken_laws(found) == {}
    moved = tuple(replace(info, stage=0) if info.layer is not None else info for info in found.params)
    assert list(broken_laws(replace(found, params=moved))) == ["layers_of_stages_are_in_one"]


UNTRUE = {
    "FP203": "the model has no `@bias`",
    "FP204": "`@layers[-2:]` could mean several stacks",
    "FP205": "`@layers[-2:]` reaches outside",
    "FP214": "`@layers` is not clear here",
    "FP215": "the layers share tensors",
    "FP305": "they are one tied tensor",
    "FP416": "`layer_decay` needs a stack of layers",
    "FP417": "the depth is not clear",
}


@pytest.mark.parametrize("code", UNTRUE)
def test_a_reason_that_is_not_true_of_the_model_is_found(code: str, distilbert: Inventory) -> None:
    assert not is_founded(diagnostic(code, UNTRUE[code]), distilbert)


def test_a_code_that_is_no_reason_is_found(distilbert: Inventory) -> None:
    assert is_founded(diagnostic("FP203", "the model has no `@pooler`"), distilbert)
    assert not is_founded(diagnostic("FP201", "pattern matches no parameter"), distilbert)


def test_a_traceback_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model_type: str) -> Inventory:
        raise IndexError(model_type)

    monkeypatch.setattr("benchmarks.atlas_rows.base_inventory", broken)
    assert row_of("bert").wrong == ["no traceback: IndexError: bert"]


def test_a_table_is_read_back_as_it_was_written() -> None:
    row = Row(
        Entry("b-type", "BModel", stacks=["x.layers (3)"], backing="marks", doubts=["why"]),
        {"llrd": Outcome("ok"), "bitfit": Outcome("refused", ("FP203",)), "top_layers": Outcome("wrong")},
    )
    other = replace(row, entry=Entry("a-type", "AModel", backing="none"), outcomes={"llrd": Outcome("ok")})
    rows = [row, other, Row(Entry("c-type", "", "cannot")), Row(Entry("d", "", "it requires the X library"))]
    page = with_table(f"# Title\n\n{BEGIN}\nold\n{END}\nAfter.\n", rows)
    assert page.startswith(f"# Title\n\n{BEGIN}\n")
    assert page.endswith(f"{END}\nAfter.\n")
    assert "old" not in page
    assert version_in(page) == installed()
    assert lines_in(page) == {"a-type": line_of(other), "b-type": line_of(row)}
    assert line_of(row) == (
        "| `b-type` | `BModel` | `x.layers` (3) | marks; in doubt | bitfit: FP203; top_layers: WRONG |"
    )
    assert unbuilt_in(page) == {"c-type": NO_CONFIG, "d": NO_LIBRARY}
    assert with_table(page, rows) == page
