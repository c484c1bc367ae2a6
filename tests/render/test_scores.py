"""Tables of classes and of what is taken for what, as wide as there is room."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from freezeplan.render.scores import SHOWN, WIDEST, ScoresView
from freezeplan.tasks.tally import Tally


def shown(labels: list[str], pairs: dict[tuple[int, int], int], width: int = 200) -> list[str]:
    tally = Tally()
    tally.pairs.update(pairs)
    return lines(ScoresView("topic", tally.report(labels)), width)


def lines(view: Any, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(view)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_matrix_stands_in_the_order_of_the_labels() -> None:
    found = shown(["z", "[a]"], {(0, 0): 3, (0, 1): 1, (1, 1): 2})
    assert found[-3:] == ["     z  [a]", "z    3    1", "[a]  0    2"]
    assert found[1:3] == ["topic", "class          precision  recall     F1  support"]
    assert found[3].split() == ["z", "1.000", "0.750", "0.857", "4"]


def test_many_classes_and_little_room_give_the_commonest_mistakes() -> None:
    labels = [f"class {number:02}" for number in range(WIDEST + 1)]
    pairs = {(number, 0): number for number in range(1, len(labels))} | {(0, 0): 50}
    found = shown(labels, pairs)
    assert "topic: what is taken for what" in found
    assert found[found.index("topic: what is taken for what") + 2].split() == [
        "class",
        "12",
        "class",
        "00",
        "12",
    ]
    assert "topic: what is taken for what" in shown(labels[:3], {(0, 1): 1, (1, 2): 1}, width=35)
    assert not any("more" in line for line in found)


def test_what_is_left_out_is_said() -> None:
    labels = [f"c{number}" for number in range(SHOWN + 4)]
    found = shown(labels, {(number, number - 1): 1 for number in range(1, len(labels))})
    assert found[-1] == "and 3 pairs more; --format json has all"


def test_a_kind_without_classes_has_no_table() -> None:
    assert lines(ScoresView("t", {"rows": 3, "metrics": {"pearson": 0.5}}), 80) == []


def test_without_room_for_a_table_each_class_has_lines_of_its_own() -> None:
    found = shown(["a class of its own", "b"], {(0, 0): 3, (1, 0): 1}, width=30)
    start = found.index("a class of its own")
    assert found[start + 1 : start + 3] == ["  precision 0.750, recall", "  1.000, F1 0.857, support 3"]
