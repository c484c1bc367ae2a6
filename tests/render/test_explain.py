from __future__ import annotations

import pytest
from rich.cells import cell_len

from freezeplan.diagnostics import Entry, entries
from freezeplan.render.explain import EntryList, EntryView
from tests.render.drawing import drawn

ENTRY = Entry("FP201", "error", "title", "What it is. " * 12, "Why.", "x = [1]\n     ^\n", "Fix [it].")


def test_an_entry_has_its_four_parts_in_order():
    out = drawn(EntryView(ENTRY))
    assert out.startswith("error[FP201]: title\n\nWhat\n  What it is.")
    assert (
        out.index("\nWhy\n")
        < out.index("\nExample\n  x = [1]\n       ^\n")
        < out.index("\nFix\n  Fix [it].\n")
    )


def test_prose_folds_and_examples_do_not():
    entry = Entry("FP201", "error", "t", "word " * 40, "w", "e" * 90, "f")
    lines = drawn(EntryView(entry), 60).splitlines()
    assert f"  {'e' * 90}" in lines
    assert all(cell_len(line) <= 60 for line in lines if "word" in line)


@pytest.mark.parametrize("code", entries())
def test_every_code_s_entry_is_complete(code):
    entry = entries()[code]
    out = drawn(EntryView(entry))
    assert entry.title in out and entry.fix.strip().splitlines()[0] in out
    assert all(part.strip() for part in (entry.what, entry.why, entry.example, entry.fix))


def test_the_list_has_one_line_per_code():
    lines = drawn(EntryList(entries().values())).splitlines()
    assert [line.split()[0] for line in lines] == list(entries())


def test_in_a_narrow_console_what_goes_on_is_indented():
    entry = Entry("FP201", "warning", "a title of words " * 5, "What.", "Why.", "x", "Fix.")
    title, *rest = drawn(EntryView(entry), 40).partition("\n\n")[0].splitlines()
    assert title.startswith("warning[FP201]: a title") and len(rest) > 1
    assert all(line.startswith("  ") for line in rest)
    first, *more = drawn(EntryList([entry]), 40).splitlines()
    assert first.startswith("FP201  warning  a title") and len(more) > 2
    assert all(line.startswith(" " * len("FP201  warning  ")) for line in more)
