"""A page of every kind of report: whole in itself, readable without sight, and no name in it is markup."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from freezeplan.render.visible import BIDI, UNSEEN
from freezeplan.report.page import report_html
from freezeplan.report.reading import read_report
from freezeplan.report.tables import score_table
from tests.report.made import LABELS, LONG, NAMES, QUOTES, SCRIPT
from tests.report.parsed import Element, parsed

ELEMENTS = {
    "html", "head", "meta", "link", "title", "style", "body", "a", "header", "h1", "h2", "h3", "h4",
    "nav", "ul", "li", "main", "section", "p", "dl", "dt", "dd", "bdi", "div", "table", "caption",
    "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "svg", "desc", "g", "text", "path",
    "line", "rect", "circle", "details", "summary", "code", "footer", "strong",
}  # fmt: skip


@pytest.fixture(scope="module")
def page(strange: Path, measured: tuple[Path, Path]) -> str:
    """The page of two runs, a comparison and a probe."""
    return report_html(read_report([strange, strange / "checkpoints" / _checkpoint(strange), *measured]), "0")


@pytest.fixture(scope="module")
def root(page: str) -> Element:
    return parsed(page)


def _checkpoint(run: Path) -> str:
    return sorted(item.name for item in (run / "checkpoints").iterdir())[-1]


def test_nothing_in_it_is_markup_but_what_the_templates_write(page: str, root: Element) -> None:
    assert {item.name for item in root.all()} <= ELEMENTS
    names = {name for item in root.all() for name in item.attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "srcdoc", "action")]
    assert not set(page) & (BIDI | UNSEEN)


def test_every_name_stands_in_it_as_it_is(root: Element) -> None:
    for name in (*NAMES, LABELS["mail"]):
        assert name in root.text
    assert "\ufffdevil" in root.text
    assert "{{ 7*7 }}" in root.text


def test_it_reaches_for_nothing_outside(page: str, root: Element) -> None:
    places = {item.attributes["id"] for item in root.all() if "id" in item.attributes}
    links = [item.attributes["href"] for item in root.all() if "href" in item.attributes]
    assert {link for link in links if not link.startswith("#")} == {"data:,"}
    assert {link[1:] for link in links if link.startswith("#")} <= places
    style = next(root.all("style")).text
    assert "url(" not in style and "@import" not in style
    assert "default-src 'none'" in page


def test_every_id_is_there_once_and_every_label_is_there(root: Element) -> None:
    found = [item.attributes["id"] for item in root.all() if "id" in item.attributes]
    assert len(found) == len(set(found))
    labels = [item.attributes.get("aria-labelledby", "") for item in root.all()]
    assert {name for label in labels for name in label.split()} <= set(found)


def test_headings_go_down_one_level_at_a_time(root: Element) -> None:
    levels = [int(item.name[1]) for item in root.all() if re.fullmatch("h[1-6]", item.name)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_tables_have_captions_and_heads_with_scopes(root: Element) -> None:
    tables = list(root.all("table"))
    assert len(tables) > 20
    for table in tables:
        assert next(table.all("caption")).text.strip()
        assert all(head.attributes["scope"] in ("col", "row") for head in table.all("th"))
        widths = {sum(1 for cell in row.children if cell.name in ("th", "td")) for row in table.all("tr")}
        assert len(widths) == 1
        assert table.above is not None and table.above.attributes["tabindex"] == "0"


def test_every_picture_says_what_it_shows(root: Element) -> None:
    pictures = [item for item in root.all("svg") if "aria-hidden" not in item.attributes]
    assert len(pictures) > 10
    for picture in pictures:
        assert picture.attributes["role"] == "img"
        assert [item.name for item in picture.children[:2]] == ["title", "desc"]
        assert len(picture.children[1].text) > 20


def test_phases_are_marked_and_named_in_every_chart_over_steps(root: Element) -> None:
    loss = next(item for item in root.all("svg") if item.children and item.children[0].text == "Loss")
    assert [group.text.strip()[0] for group in loss.all("g")][:2] == ["1", "2"]
    assert f"2 {LONG}" in loss.text


def test_runs_beside_each_other_say_what_differs(strange: Path, toy: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other"
    copy.mkdir()
    for name in ("run.json", "plan.json", "metrics.jsonl", "evidence.json"):
        (copy / name).write_bytes((strange / name).read_bytes())
    plan = json.loads((copy / "plan.json").read_text("utf-8"))
    for phase in plan["phases"]:
        phase["on_thaw"] = "keep"
    (copy / "plan.json").write_text(json.dumps(plan), "utf-8")
    found = read_report([strange, copy])
    assert [item.lines for item in found.differences] == [("on_thaw reset -> keep",)]
    assert "on_thaw reset -&gt; keep" in report_html(found, "0")


def test_a_comparison_that_is_not_finished_says_so(measured: tuple[Path, Path], tmp_path: Path) -> None:
    from tests.report.made import comparison_record

    (tmp_path / "comparison.json").write_text(json.dumps(comparison_record(finished=False)), "utf-8")
    root = parsed(report_html(read_report([tmp_path]), "0"))
    assert "the comparison is not finished" in root.text
    assert QUOTES in root.text and SCRIPT in root.text


def test_a_comparison_names_its_choice_and_draws_its_front(root: Element) -> None:
    fronts = [item for item in root.all("path") if item.attributes.get("class") == "front"]
    assert len(fronts) == 2
    chosen = [row.text for row in root.all("tr") if row.attributes.get("class") == "chosen"]
    assert any(text.strip().startswith("2 heads") for text in chosen)


def test_scores_of_a_run_that_goes_on_are_not_called_its_last() -> None:
    captions = [score_table((), finished=finished).caption for finished in (True, False)]
    assert captions == ["Scores of the weights that the run ended with", "Scores after the last epoch so far"]
