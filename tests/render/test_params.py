from __future__ import annotations

import pytest
from rich.cells import cell_len

from freezeplan.render.params import ParamsView
from tests.render.drawing import drawn
from tests.render.plans import PARAMS, small_plan


def test_every_parameter_has_one_line_with_all_it_gets():
    head, *lines = drawn(ParamsView(small_plan())).splitlines()
    assert head.split() == ["parameter", "shape", "state", "LR", "weight", "decay", "rule"]
    assert [line.split()[0] for line in lines] == list(PARAMS)
    assert " ".join(lines[0].split()[1:]) == "30522 x 768 frozen - - everything = lm_head.weight"
    assert lines[3].split()[1:] == ["768", "trainable", "1e-05", "0", "upper"]


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_console_gets_the_name_on_a_line_of_its_own(width):
    lines = drawn(ParamsView(small_plan()), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert [line for line in lines if not line.startswith(" ")] == list(PARAMS)
    assert lines[1:3] == ["  frozen, 30522 x 768, by everything", "  = lm_head.weight"]
    assert "  trainable, LR 2e-04, weight decay 0.01, 2 x 768, by heads" in lines


def test_columns_line_up():
    lines = drawn(ParamsView(small_plan())).splitlines()
    starts = [line.index(word) for line in lines[1:] for word in ("frozen", "trainable") if word in line]
    assert starts == [lines[0].index("state")] * len(PARAMS)
