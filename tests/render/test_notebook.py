"""A plan where Python shows values: printed, at a prompt, in a notebook; and the names of the package."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser

from torch import nn

import freezeplan
from freezeplan.plan.records import Plan


class Reading(HTMLParser):
    """Read the cells of a table, and what tags there are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def plan_of(*phases: dict, name: str = "all") -> Plan:
    rules = [{"name": name, "match": "**", "state": "trainable"}, {"match": "0", "lr_mult": 0.5}]
    spec = {"optimizer": {"lr": 0.01}, "rule": rules, "phase": list(phases)}
    return freezeplan.compile_plan(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), spec)


def test_a_plan_prints_as_its_table() -> None:
    text = str(plan_of())
    assert text.startswith("group  selected by  state")
    assert "coverage   4 of 4 tensors accounted for (100 %)" in text and "\x1b" not in text
    assert f"{plan_of()}" == text


def test_a_notebook_shows_the_same_rows() -> None:
    shown = Reading(plan_of()._repr_html_())
    assert shown.rows[0] == ["group", "selected by", "state", "LR", "weight decay", "tensors", "parameters"]
    assert ["0", "0", "trainable", "5e-03", "0.01 / 0", "2", "6"] in shown.rows
    for row in shown.rows[1:]:
        assert all(cell in str(plan_of()) for cell in row)


def test_phases_are_columns_and_have_names_and_lengths() -> None:
    off = [{"match": "0", "state": "frozen"}]
    page = plan_of(
        {"name": "first", "epochs": 1, "rule": off}, {"name": "then <b>", "steps": 5}
    )._repr_html_()
    shown = Reading(page)
    assert shown.rows[0] == ["group", "tensors", "parameters", "first", "then <b>"]
    assert [row[3:] for row in shown.rows[1:]] == [["frozen", "frozen"], ["1e-02", "1e-02"]]
    assert "1. <b>first</b>, 1 epoch; 2. <b>then &lt;b&gt;</b>, 5 steps" in page


def test_names_cannot_bring_markup_into_a_notebook() -> None:
    wicked = "<script>alert(1)</script>&\"'"
    page = plan_of(name=wicked)._repr_html_()
    assert "<script" not in page
    assert any(wicked in row[0] for row in Reading(page).rows)


def test_without_the_rooms_that_draw_a_plan_is_its_record() -> None:
    code = (
        "from freezeplan.plan.records import Plan; import sys;"
        "plan = Plan('m', '', '', (), (), (), (), ());"
        "print(str(plan) == repr(plan), plan._repr_html_(), 'freezeplan.render' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["True", "None", "False"]


def test_the_package_lists_its_public_names_before_they_are_loaded() -> None:
    code = "import freezeplan; print(*[name for name in dir(freezeplan) if name[0] != '_'])"
    listed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert listed.split() == sorted(freezeplan.__all__)
    assert all(hasattr(freezeplan, name) for name in listed.split())
