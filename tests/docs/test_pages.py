from __future__ import annotations

from pathlib import Path

import pytest

from freezeplan.diagnostics import Entry, entries
from tools.pages import (
    FAMILIES,
    advice_table,
    benchmark_table,
    cell,
    diagnostic_pages,
    fence,
    generated_pages,
    generated_tables,
    main,
    with_table,
    write_pages,
)
from tools.schema_tables import key_tables

DOCS = Path(__file__).parents[2] / "docs"
ENTRY = Entry("FP201", "error", "a | b", "What it is.\n", "Why.\n", "x = 1\n```\ny\n", "Fix.\n")


def test_the_pages_on_disk_are_what_the_registry_and_the_schema_give():
    on_disk = {name: (DOCS / name).read_text("utf-8") for name in generated_pages()}
    assert on_disk == generated_pages(), "run `python -m tools.pages docs`"
    assert {f"diagnostics/{path.name}" for path in DOCS.glob("diagnostics/*.md")} <= set(on_disk)


def test_tables_on_pages_written_by_hand_are_what_the_code_gives():
    for path, name, table in generated_tables():
        page = (DOCS / path).read_text("utf-8")
        assert with_table(page, name, table) == page, "run `python -m tools.pages docs`"
    with pytest.raises(ValueError, match="begin advice"):
        with_table("no marks", "advice", "")


def test_the_advice_lists_warnings_about_plans_alone():
    table = advice_table(entries().values())
    assert "[FP404](diagnostics/fp4xx.md#fp404) | everything is frozen |" in table
    assert "[FP201]" not in table and "[FP511]" not in table


def test_the_table_of_benchmarks_has_what_is_a_command(tmp_path):
    (tmp_path / "timing.py").write_text('"""Help others."""\n')
    (tmp_path / "run.py").write_text(
        '"""Measure a thing\nor two.\n\nMore."""\nif __name__ == "__main__":\n    pass\n'
    )
    assert benchmark_table(tmp_path).splitlines()[2:] == [
        "| `python -m benchmarks.run` | Measure a thing or two. |"
    ]


def test_every_code_has_an_anchor_on_its_family_s_page_and_a_link_in_the_index():
    pages = generated_pages()
    for code in entries():
        family = f"fp{code[2]}xx.md"
        assert f'<a id="{code.lower()}"></a>' in pages[f"diagnostics/{family}"]
        assert f"({family}#{code.lower()})" in pages["diagnostics/index.md"]


def test_every_code_belongs_to_a_family():
    assert {code[:3] for code in entries()} <= set(FAMILIES)


def test_a_page_says_what_why_example_and_fix():
    page = diagnostic_pages([ENTRY])["diagnostics/fp2xx.md"]
    assert "## FP201: a | b\n\n*Error.* What it is.\n\n**Why.** Why.\n" in page
    assert "````text\nx = 1\n```\ny\n````\n" in page
    assert page.endswith("**Fix.** Fix.\n")


def test_the_index_escapes_what_would_break_its_table():
    assert (
        "| [FP201](fp2xx.md#fp201) | error | a \\| b |" in diagnostic_pages([ENTRY])["diagnostics/index.md"]
    )
    assert cell("a\nb|c") == "a b\\|c"


def test_a_fence_is_longer_than_what_it_holds():
    assert [fence(text) for text in ("", "`a`", "```", "a ````` b")] == ["```", "```", "````", "``````"]


def test_writing_leaves_only_generated_diagnostic_pages(tmp_path):
    stale = tmp_path / "diagnostics" / "fp9xx.md"
    stale.parent.mkdir()
    stale.write_text("old")
    (tmp_path / "guide.md").write_text("kept")
    written = write_pages(tmp_path)
    assert not stale.exists() and (tmp_path / "guide.md").exists()
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text("utf-8") for path in written}
    assert pages == generated_pages()


def test_tables_hold_every_key_with_its_type_default_and_limits():
    schema = {
        "properties": {
            "one": {"$ref": "#/$defs/One"},
            "many": {"type": "array", "items": {"$ref": "#/$defs/Many"}},
            "plain": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
        },
        "$defs": {
            "One": {
                "description": "First.",
                "required": ["kind"],
                "properties": {
                    "kind": {"enum": ["a", "b"]},
                    "rate": {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "default": 0.1,
                        "description": "How\nfast.",
                    },
                },
            },
            "Many": {"properties": {"names": {"type": "array", "items": {"type": "string"}}}},
        },
    }
    top, one, many = key_tables(schema)
    assert [table.title for table in (top, one, many)] == ["top level", "[one]", "[[many]]"]
    assert [(key.name, key.kind, key.default) for key in top.keys] == [("plain", "integer, >= 1", "")]
    assert [(key.kind, key.default, key.required, key.description) for key in one.keys] == [
        ('`"a"` or `"b"`', "", True, ""),
        ("number, > 0", "0.1", False, "How fast."),
    ]
    assert [key.kind for key in many.keys] == ["list of strings"]


def test_every_key_of_the_language_is_in_the_reference():
    from freezeplan.spec.schema import json_schema

    schema = json_schema()
    nodes = [schema, *schema["$defs"].values()]
    names = {name for node in nodes for name in node.get("properties", {})}
    tables = {"model", "optimizer", "schedule", "rule", "task", "train", "expect", "data", "layer_decay"}
    tables |= {"phase", "gradual", "freeze_when", "until", "stop_when"}
    page = generated_pages()["reference/tables.md"]
    assert {name for name in names if f"| `{name}` |" not in page} <= tables


def test_an_option_is_no_folder(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--help"]) == main(["docs", "more"]) == 2
    assert list(tmp_path.iterdir()) == []
    assert "usage: " in capsys.readouterr().err
