"""What a pattern of another tool hits, by its own words and as it was meant."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.importing.hits import by_glob, by_prefix, by_regex, by_substring

LAYERS = [f"net.{number}.{leaf}" for number in range(12) for leaf in ("weight", "bias")]
DEBERTA = [f"deberta.encoder.layer.{number}.{part}.w" for number in range(24) for part in ("output", "mlp")]


def numbers(names: frozenset[str]) -> set[str]:
    return {re.search(r"\.(\d+)\.", name)[1] for name in names}


@pytest.mark.parametrize(
    ("found", "literal", "meant"),
    [
        (by_regex("net.1", LAYERS), {"1", "10", "11"}, {"1"}),
        (by_regex("net.1.", LAYERS), {"1", "10", "11"}, {"1"}),
        (by_regex(r"net\.1\.", LAYERS), {"1"}, {"1"}),
        (by_regex("1", LAYERS, search=True), {"1", "10", "11"}, {"1"}),
        (by_regex("net.1[0-1]", LAYERS), {"10", "11"}, {"10", "11"}),
        (by_regex("net.[0-11].", LAYERS), {"0", "1", "10", "11"}, {str(n) for n in range(12)}),
        (by_regex("1.w", LAYERS), set(), {"1"}),
        (by_prefix("net.1", LAYERS), {"1", "10", "11"}, {"1"}),
        (by_substring("t.1", LAYERS), {"1", "10", "11"}, {"1"}),
        (by_substring("0.w", LAYERS), {"0", "10"}, {"0"}),
        (by_glob("net.1*", LAYERS), {"1", "10", "11"}, {"1", "10", "11"}),
        (
            by_regex("deberta.encoder.layer.{0,11}.(output)", DEBERTA),
            {str(n) for n in range(24)},
            {str(n) for n in range(12)},
        ),
    ],
)
def test_numbers_are_meant_whole(found, literal: set[str], meant: set[str]) -> None:
    assert (numbers(found.literal), numbers(found.meant)) == (literal, meant)


@given(st.sampled_from(LAYERS), st.integers(0, 12), st.integers(0, 12))
def test_the_literal_reading_is_that_of_python(name: str, start: int, length: int) -> None:
    text = name[start : start + length]
    assert by_prefix(text, LAYERS).literal == {other for other in LAYERS if other.startswith(text)}
    if text:
        assert by_substring(text, LAYERS).literal == {other for other in LAYERS if text in other}
    assert by_regex(text, LAYERS).literal == {other for other in LAYERS if re.match(text, other)}
    assert by_regex(text, LAYERS, search=True).literal == {
        other for other in LAYERS if re.search(text, other)
    }
    for found in (by_prefix(text, LAYERS), by_regex(text, LAYERS)):
        # What hits nothing is meant anywhere in a name.
        assert found.meant <= found.literal or not found.literal
