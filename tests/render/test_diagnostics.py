from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from freezeplan.diagnostics import Diagnostic, Severity, Span
from freezeplan.render.diagnostics import (
    DiagnosticsView,
    diagnostics_json,
    diagnostics_record,
    internal_error,
    render_diagnostic,
    summary_line,
)
from tests.render.drawing import drawn

LINE = 'match = "bert.transfomer.layer.0"'


def finding(text: str = LINE, part: str = "transfomer", line: int = 14, **rest: object) -> Diagnostic:
    span = Span("specs/x.toml", line, text.index(part) + 1, len(part), text)
    return Diagnostic("FP201", Severity.ERROR, "pattern matches no parameter", span, **rest)


def marked(text: str) -> str:
    """Return the cells of the source line that stand over the carets."""
    lines = text.splitlines()
    index = next(i for i, line in enumerate(lines) if set(line.split("|")[-1].strip()) == {"^"})
    start = cell_len(lines[index]) - lines[index].count("^")
    column, out = 0, ""
    for char in lines[index - 1]:
        if start <= column < start + lines[index].count("^"):
            out += char
        column += cell_len(char)
    return out


def test_the_full_format_is_that_of_rustc():
    item = finding(help="did you mean `transformer`?", notes=("one", "two"))
    assert drawn(DiagnosticsView([item])) == (
        "error[FP201]: pattern matches no parameter\n"
        "  --> specs/x.toml:14:15\n"
        "   |\n"
        '14 | match = "bert.transfomer.layer.0"\n'
        "   |               ^^^^^^^^^^\n"
        "   = help: did you mean `transformer`?\n"
        "   = note: one\n"
        "   = note: two\n"
        "\n"
        "1 error\n"
    )


@pytest.mark.parametrize(
    ("text", "part", "seen"),
    [
        ('\t\tmatch = "aa.bb"', "bb", "bb"),
        ('match = "中文.層.bb"', "層", "層"),
        ('match = "中文.層.bb"', "bb", "bb"),
        ('match = "e\u0301e\u0301.bb"', "bb", "bb"),
        ('match = "a\tb.bb"', "a\tb", "a    b"),
        ('match = "\u200bbert.bb"', "bb", "bb"),
    ],
)
def test_carets_stand_under_the_span_whatever_the_width_of_characters(text, part, seen):
    assert marked(drawn(render_diagnostic(finding(text, part)))) == seen


AROUND = st.text("ab.中é\t", max_size=30)


@given(AROUND, st.text("xy層", min_size=1, max_size=8), AROUND)
def test_carets_cover_exactly_the_cells_of_the_span(before, part, after):
    span = Span("x.toml", 3, len(before) + 1, len(part), before + part + after)
    text = drawn(render_diagnostic(Diagnostic("FP201", Severity.ERROR, "m", span)))
    assert marked(text) == part


@given(st.integers(0, 200), st.integers(0, 200), st.integers(30, 70))
def test_a_line_wider_than_the_console_is_shown_through_a_window_around_the_span(left, right, width):
    text = "l" * left + "SPAN" + "r" * right
    out = drawn(render_diagnostic(finding(text, "SPAN"), width), width)
    assert marked(out) == "SPAN"
    assert max(map(cell_len, out.splitlines()[2:])) <= width
    assert (text in out) == (len(text) <= width - 5)


def test_a_span_past_the_end_of_the_line_still_has_a_caret():
    span = Span("x.toml", 1, 8, 1, "rule = ")
    out = drawn(render_diagnostic(Diagnostic("FP005", Severity.ERROR, "m", span)))
    assert "1 | rule =\n  |        ^\n" in out


def test_a_finding_without_a_file_names_the_key_path():
    item = Diagnostic("FP201", Severity.ERROR, "m", where="rule[1].match")
    assert drawn(render_diagnostic(item)) == "error[FP201]: m\n --> rule[1].match\n"


def test_brackets_and_escape_sequences_are_shown_and_not_obeyed():
    text = 'match = "[bold]\x1b[31m[/bold]"'
    out = drawn(render_diagnostic(finding(text, "bold", help="write `@layers[-2:]` :smile:")), color=False)
    assert "[bold]\ufffd[31m[/bold]" in out and "@layers[-2:]` :smile:" in out
    assert "\x1b" not in out


def test_text_that_would_reorder_the_screen_is_made_visible():
    out = drawn(render_diagnostic(Diagnostic("FP201", Severity.ERROR, "no `\u202egnirts`\u0007")))
    assert "\u202e" not in out and "\u0007" not in out and "\ufffdgnirts" in out


def test_long_advice_hangs_under_its_label_on_a_terminal_and_is_one_line_elsewhere():
    item = finding(help="the parameters there are " + ", ".join(f"`name_{n}`" for n in range(20)))
    narrow = drawn(render_diagnostic(item, 60), 60).splitlines()
    wide = drawn(render_diagnostic(item)).splitlines()
    assert all(len(line) <= 60 for line in narrow)
    assert all(line.startswith(" " * 11) for line in narrow[6:])
    assert len(wide) == 6 and wide[-1].endswith("`name_19`")


def test_findings_come_in_file_order_with_a_blank_line_between_and_their_count():
    late, early = finding(line=90), finding(line=9)
    warning = Diagnostic("FP401", Severity.WARNING, "everything is frozen")
    out = drawn(DiagnosticsView([warning, late, early]))
    assert out.index(":9:") < out.index(":90:") < out.index("warning[FP401]")
    assert out.endswith("\n\nwarning[FP401]: everything is frozen\n\n2 errors, 1 warning\n")


def test_the_count_leaves_out_what_there_is_none_of():
    note = Diagnostic("FP203", Severity.NOTE, "n")
    assert summary_line([finding(), note]) == "1 error, 1 note"
    assert summary_line([]) == ""


def test_json_holds_the_records_in_file_order():
    items = [finding(line=90), finding(line=9, help="h", notes=("n",))]
    read = json.loads(diagnostics_json(items))
    assert read == json.loads(json.dumps(diagnostics_record(items)))
    assert [item["span"]["line"] for item in read["diagnostics"]] == [9, 90]
    assert read["diagnostics"][0] == {
        "code": "FP201",
        "severity": "error",
        "message": "pattern matches no parameter",
        "span": {"file": "specs/x.toml", "line": 9, "column": 15, "length": 10, "text": LINE},
        "where": None,
        "help": "h",
        "notes": ["n"],
        "more": 0,
    }
    assert (read["errors"], read["warnings"], read["notes"]) == (2, 0, 0)


def test_json_is_plain_ascii():
    assert diagnostics_json([finding('match = "中"', "中")]).isascii()


def test_colour_changes_nothing_but_colour():
    import re

    item = finding(help="h")
    colored = drawn(DiagnosticsView([item]), color=True)
    assert "\x1b[1;31m" in colored
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == drawn(DiagnosticsView([item]))


def test_an_internal_error_has_no_traceback_and_says_what_to_do():
    out = drawn(internal_error(KeyError("x[0]"), version="1.2", debug="D=1"))
    assert out.startswith("internal error: KeyError: 'x[0]'\n") and "freezeplan 1.2" in out and "D=1" in out
    bare = drawn(internal_error(ValueError(), version="", debug=""))
    assert bare.startswith("internal error: ValueError\n")
