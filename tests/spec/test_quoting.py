"""A segment in quotes is a name as it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.api import compile_plan
from freezeplan.spec.quoting import quoted_segment
from freezeplan.spec.selector import parse_selector
from freezeplan.spec.selector_error import SelectorError
from tests.plan.matching import named

NAMES = st.text("ab.*@[]{},:/\\ '", min_size=1, max_size=6).filter(
    lambda name: "''" not in name and not name.startswith(".") and not name.endswith(".") and ".." not in name
)


def segments(pattern: str) -> list[tuple[str, bool]]:
    (branch,) = parse_selector(pattern).branches
    return [(segment.text, segment.literal) for segment in branch]


def test_quotes_of_either_kind_stand_around_a_whole_segment() -> None:
    assert segments("heads.'task a'.weight") == [("heads", False), ("task a", True), ("weight", False)]
    assert segments('"@layers"') == [("@layers", True)]
    assert segments("'**'.x") == [("**", True), ("x", False)]


def test_a_name_with_dots_stands_where_its_parts_stand() -> None:
    assert segments("'conv.0'.weight") == [("conv", True), ("0", True), ("weight", False)]


def test_braces_and_slices_beside_a_quoted_segment_keep_their_meaning() -> None:
    branches = parse_selector("'a b'.{x,y}").branches
    assert [[segment.text for segment in branch] for branch in branches] == [["a b", "x"], ["a b", "y"]]


@pytest.mark.parametrize("pattern", ["a'b c'", "'a b", "'a' b", "''"])
def test_quotes_inside_a_segment_are_none(pattern: str) -> None:
    try:
        texts = [text for text, literal in segments(pattern) if literal]
    except SelectorError:
        return
    assert not texts


@given(NAMES)
def test_what_is_suggested_finds_the_name(name: str) -> None:
    rules = [{"match": "**", "state": "frozen"}, {"match": quoted_segment(name), "state": "trainable"}]
    plan = compile_plan(named(f"{name}.weight", "other.weight"), {"rule": rules})
    assert f"{name}.weight" in plan.names(trainable=True)
    assert "other.weight" not in plan.names(trainable=True)


@pytest.mark.parametrize(
    ("pattern", "offered"),
    [
        ("heads.task a.weight", "heads.'task a'.weight"),
        ("a?b", "'a?b'"),
        (r"layer\.[0-9]+\..*", None),
        (r"encoder.layer\.\d+", None),
        ("layer.{0..5}/weight", None),
        ("'task a", None),
        ("'a.b'.c d", None),
        ("*.task a*", None),
    ],
)
def test_quotes_are_offered_where_they_mean_the_whole_name(pattern: str, offered: str | None) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_selector(pattern)
    found = re.search("in quotes: `(.+)`", str(caught.value))
    assert (found and found[1]) == offered
    if offered:
        parse_selector(offered)
