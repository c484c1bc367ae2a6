from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.diagnostics.wording import (
    format_bytes,
    format_number,
    format_percent,
    format_rate,
    format_shape,
)

RATES = st.floats(min_value=5e-324, max_value=1e6, allow_nan=False)


@given(RATES)
def test_a_rate_reads_back_as_the_same_float(rate):
    assert float(format_rate(rate)) == rate


@given(RATES.filter(lambda rate: rate < 1))
def test_rates_below_one_are_in_scientific_notation_with_one_leading_digit(rate):
    mantissa, _, power = format_rate(rate).partition("e-")
    assert power.isdigit() and len(power) >= 2
    assert mantissa.partition(".")[0] in set("123456789")


@pytest.mark.parametrize(
    ("rate", "text"),
    [(2e-5, "2e-05"), (1e-4, "1e-04"), (0.1, "1e-01"), (0.125, "1.25e-01"), (1.0, "1"), (0, "0")],
)
def test_rates_look_alike(rate, text):
    assert format_rate(rate) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_the_same_float(number):
    assert float(format_number(number)) == number


@given(st.integers(0, 10**12), st.integers(1, 10**12))
def test_only_nothing_is_0_percent_and_only_everything_is_100_percent(part, whole):
    part = min(part, whole)
    text = format_percent(part, whole)
    assert (text == "0 %") == (part == 0)
    assert (text == "100 %") == (part == whole)
    assert "100.0" not in text and not text.startswith("0.0")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1.0 KiB"),
        (3 * 2**30, "3.0 GiB"),
        (10**20, "86.7 EiB"),
        (10**28, "8,271.8 YiB"),
    ],
)
def test_bytes_are_written_in_binary_units(size, text):
    assert format_bytes(size) == text


def test_shapes_are_written_like_people_do():
    assert [format_shape(shape) for shape in [(), (3,), (3, 4, 5)]] == ["scalar", "3", "3 x 4 x 5"]
