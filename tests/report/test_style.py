"""Colours of the page: readable in both schemes, by the formula of the Web Content Accessibility Guidelines 2.2."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = (files("freezeplan.report") / "templates" / "style.css.j2").read_text("utf-8")
TEXT, GRAPHIC = 4.5, 3.0


def variables(scheme: str) -> dict[str, str]:
    """Return the colours of a scheme by their names."""
    start = STYLE.index("prefers-color-scheme: dark") if scheme == "dark" else 0
    end = STYLE.index("}", start)
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", STYLE[start:end]))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours.

    >>> contrast("#000000", "#ffffff")
    21.0
    """
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(scheme: str) -> None:
    colours = variables(scheme)
    pairs = [(text, "page") for text in ("ink", "soft", "accent", "good", "bad")]
    pairs += [("ink", "panel"), ("ink", "bad-panel"), ("ink", "heat"), ("soft", "band"), ("ink", "band")]
    pairs += [(f"x{level}", f"t{level}") for level in range(5)]
    found = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in found.items() if ratio < TEXT} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_and_bars_stand_out_from_the_page_and_its_bands(scheme: str) -> None:
    colours = variables(scheme)
    lines = [*(f"c{place}" for place in range(6)), "frozen", "soft", "accent", "bad"]
    found = {(line, on): contrast(colours[line], colours[on]) for line in lines for on in ("page", "band")}
    assert {pair: ratio for pair, ratio in found.items() if ratio < GRAPHIC} == {}


def test_both_schemes_name_the_same_colours_and_print_is_light() -> None:
    assert variables("light").keys() == variables("dark").keys()
    assert "@media screen and (prefers-color-scheme: dark)" in STYLE
