from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from freezeplan.render.visible import REPLACEMENT, TAB_WIDTH, visible


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_nothing_is_left_that_moves_the_cursor_or_reorders(text):
    shown = visible(text, keep="")
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in shown)
    assert not any(
        unicodedata.bidirectional(char) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI") for char in shown
    )


@given(st.text(st.characters(categories=("L", "N", "P", "S", "M", "Zs"))))
def test_what_is_printable_stays_as_it_is(text):
    assert visible(text) == text


def test_each_kind_of_troublemaker():
    assert visible("a\tb") == "a" + " " * TAB_WIDTH + "b"
    troublemakers = "\x00\x07\x1b\r\x7f\x9b\u200b\u202e\ufeff"
    assert visible(troublemakers) == REPLACEMENT * len(troublemakers)
    assert visible("a\nb") == "a\nb" and visible("a\nb", keep="") == f"a{REPLACEMENT}b"
