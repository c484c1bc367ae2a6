"""Text of others in Markdown: it reads as it is, whatever it holds."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from freezeplan.render.markdown import QUOTED, code, fence, prose
from freezeplan.render.visible import visible

TEXTS = st.text(
    alphabet=st.one_of(st.sampled_from("`|\\*_[]<>&!#()~ \n\tab-:/.@"), st.characters()), max_size=20
)
READER = MarkdownIt("gfm-like", {"linkify": False})


def shown(tokens: list) -> str:
    """Return what a reader sees of a line of tokens; anything but code and text fails."""
    words = []
    for token in tokens:
        if token.type == "html_inline":
            assert token.content in ("<code>", "</code>")
            continue
        assert token.type in ("text", "code_inline", "text_special"), token.type
        words.append(token.content)
    return "".join(words)


@given(TEXTS, TEXTS)
@example("a|b", "`")
@example("\\", " a ")
def test_a_cell_holds_the_text_and_nothing_else(one: str, other: str) -> None:
    page = f"| a | b |\n|---|---|\n| {code(one)} | {code(other)} |\n"
    cells = [token for token in READER.parse(page) if token.type == "inline"][2:]
    assert [shown(cell.children or []) for cell in cells] == [visible(text, keep="") for text in (one, other)]


@given(TEXTS)
@example("www.a.de http://b.de me@c.de `d|e` *f*")
def test_a_sentence_holds_its_words_and_nothing_else(text: str) -> None:
    page = f"| a |\n|---|\n| x{prose(text)}x |\n"
    (cell,) = [token for token in READER.parse(page) if token.type == "inline"][1:]
    assert shown(cell.children or []) == f"x{QUOTED.sub(one_quoted, visible(text, keep=''))}x"


def one_quoted(found: re.Match[str]) -> str:
    return found[1]


@given(TEXTS)
def test_no_line_ends_a_fence(text: str) -> None:
    (block,) = READER.parse(fence(text))
    assert block.type == "fence"
    assert block.content == "\n".join(line.rstrip() for line in visible(text).split("\n")) + "\n"
