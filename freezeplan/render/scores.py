"""What an evaluation counted, as tables: each class with its scores, and what is taken for what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from freezeplan.diagnostics.wording import counted, format_count
from freezeplan.render.visible import visible

MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1"}
ONE = {"classes": "class", "labels": "label", "spans": "type", "strict_spans": "type"}
TITLES = {"spans": "spans", "strict_spans": "strict spans"}
CONFUSION = "confusion"
WIDEST = 12
"""Most classes that are shown as a matrix."""
NARROWEST = 50
"""Fewest cells in which the numbers of a class stand beside its name."""
SHOWN = 20
GAP = 2
Report = Mapping[str, Any]


class ScoresView:
    """Render what an evaluation reports of one task besides its metrics: nothing for a task without such sections."""

    def __init__(self, task: str, found: Report) -> None:
        self.task, self.found = task, found

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for name, section in self.found.items():
            title = f"{self.task}, {TITLES[name]}" if name in TITLES else self.task
            if isinstance(section, Mapping) and {"each", "averages"} <= section.keys():
                yield Text("")
                yield Text(visible(title, keep=""), style="bold", overflow="fold")
                if options.max_width < NARROWEST:
                    yield from _stacked(section)
                else:
                    yield _table(ONE.get(name, name), section)
        if self.found.get(CONFUSION):
            yield Text("")
            labels = list(self.found["classes"]["each"])
            yield from _confusion(self.task, labels, self.found[CONFUSION], options.max_width)


def _lines(section: Report) -> Iterator[tuple[str, Mapping[str, float], str]]:
    """Yield what stands in each row of a section: a name, its scores, a style."""
    yield from ((visible(name, keep=""), scores, "") for name, scores in section["each"].items())
    for name, scores in section["averages"].items():
        yield ("micro (all)" if name == "micro" else f"{name} mean"), scores, "dim"


def _table(what: str, section: Report) -> Table:
    table = _plain_table([what, *MEASURES.values(), "support"])
    for name, scores, style in _lines(section):
        numbers = (f"{scores[key]:.3f}" for key in MEASURES)
        table.add_row(Text(name), *numbers, format_count(int(scores["support"])), style=style)
    return table


def _stacked(section: Report) -> RenderResult:
    for name, scores, style in _lines(section):
        said = [f"{title} {scores[key]:.3f}" for key, title in MEASURES.items()]
        yield Text(name, style=style, overflow="fold")
        said.append(f"support {format_count(int(scores['support']))}")
        yield Padding(Text(", ".join(said), style=style, overflow="fold"), (0, 0, 0, GAP), expand=False)


def _plain_table(heads: Sequence[str]) -> Table:
    table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(
            Text(visible(head, keep="")),
            justify="right" if place else "left",
            overflow="fold",
            no_wrap=bool(place),
        )
    return table


def _confusion(
    task: str, labels: Sequence[str], confusion: Mapping[str, Mapping[str, int]], room: int
) -> RenderResult:
    width = max(map(cell_len, labels)) + sum(max(cell_len(label), 5) + GAP for label in labels)
    if len(labels) <= WIDEST and width <= room:
        yield Text(
            visible(f"{task}: true (down) and predicted (across)", keep=""), style="bold", overflow="fold"
        )
        yield _matrix(labels, confusion)
        return
    wrong = [(count, true, found) for true, found, count in _pairs(confusion) if true != found]
    wrong.sort(key=lambda item: (-item[0], *item[1:]))
    yield Text(visible(f"{task}: what is taken for what", keep=""), style="bold", overflow="fold")
    table = _plain_table(["true", "predicted", "rows"])
    for count, true, found in wrong[:SHOWN]:
        table.add_row(visible(true, keep=""), visible(found, keep=""), format_count(count))
    yield table
    if len(wrong) > SHOWN:
        yield Text(f"and {counted(len(wrong) - SHOWN, 'pair')} more; --format json has all", overflow="fold")


def _pairs(confusion: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, str, int]]:
    for true, row in confusion.items():
        for found, count in row.items():
            yield true, found, count


def _matrix(labels: Sequence[str], confusion: Mapping[str, Mapping[str, int]]) -> Table:
    table = _plain_table(["", *labels])
    for true in labels:
        counts = [confusion.get(true, {}).get(found, 0) for found in labels]
        cells = [
            Text(format_count(count), style="bold" if true == found else "" if count else "dim")
            for found, count in zip(labels, counts, strict=True)
        ]
        table.add_row(Text(visible(true, keep="")), *cells)
    return table
