"""The table of schedulers in the docs is what a measurement gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.schedule_ratios import BEGIN, END, Ratios, ratios_of, tables, with_tables

PAGE = Path(__file__).parents[2] / "docs" / "phases.md"


@pytest.mark.slow
def test_the_docs_show_what_is_measured() -> None:
    if not PAGE.exists():
        pytest.skip("docs/phases.md is not there")
    page = PAGE.read_text("utf-8")
    assert with_tables(page, tables()) == page


def test_tables_stand_between_their_marks_and_change_nothing_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_tables(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(ValueError, match="begin schedule-ratios"):
        with_tables("no marks", "new")


def test_a_ratio_that_wavers_is_not_called_kept() -> None:
    kept = ratios_of([{"head": 1.0, "body": 0.1}, {"head": 0.0, "body": 0.0}, {"head": 0.5, "body": 0.05}])
    assert kept.verdict == "kept"
    assert Ratios(9.99, 10.0).verdict != "kept"
    assert ratios_of([{"head": 1.0, "body": 0.0}]).verdict != "kept"
