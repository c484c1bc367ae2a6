"""The numbers of an epoch or an evaluation as a small table of plain lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len

from freezeplan.apply.ending import Scores
from freezeplan.diagnostics.wording import format_rate
from freezeplan.render.visible import visible

NAMES = {
    "macro_f1": "macro-F1",
    "mrr": "MRR",
    "recall_at_1": "recall@1",
    "recall_at_10": "recall@10",
    "micro_f1": "micro-F1",
    "span_f1": "span-F1",
    "strict_span_f1": "strict span-F1",
}
INDENT = "  "
Row = Sequence[str]


def score_lines(scores: Scores, losses: Mapping[str, float] | None = None) -> list[str]:
    """Return a line per task under a header: its training loss where given, then its validation scores.

    >>> for line in score_lines({"mood": {"accuracy": 0.875, "loss": 0.31}}, {"mood": 0.5, "topic": 1.0}):
    ...     print(line)
      task     loss  validation loss  accuracy
      mood   0.5000           0.3100     0.875
      topic  1.0000                -         -
    """
    metrics = dict.fromkeys(["loss", *(name for values in scores.values() for name in values)])
    shown = [name for name in metrics if any(name in values for values in scores.values())]
    prefix = "" if losses is None else "validation "
    header = ["task", *([] if losses is None else ["loss"])]
    header += [prefix + name if name == "loss" else NAMES.get(name, name) for name in shown]
    rows = [
        _row(task, losses, scores.get(task, {}), shown) for task in dict.fromkeys([*(losses or {}), *scores])
    ]
    return list(_aligned([header, *rows]))


def rate_lines(rates: Mapping[str, float]) -> list[str]:
    """Return a line per group with its learning rate."""
    rows = [[visible(group, keep=""), format_rate(float(f"{rate:.3g}"))] for group, rate in rates.items()]
    return list(_aligned([["group", "rate"], *rows]))


def _row(
    task: str, losses: Mapping[str, float] | None, found: Mapping[str, float], shown: Sequence[str]
) -> list[str]:
    trained = [] if losses is None else [_number("loss", losses.get(task))]
    return [visible(task, keep=""), *trained, *(_number(name, found.get(name)) for name in shown)]


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if name == "loss" else f"{value:.3f}"


def _aligned(rows: Sequence[Row]) -> Iterator[str]:
    """Yield rows with the first column to the left and the others to the right."""
    widths = [max(cell_len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for first, *rest in rows:
        cells = [first + " " * (widths[0] - cell_len(first))]
        cells += [" " * (width - cell_len(cell)) + cell for cell, width in zip(rest, widths[1:], strict=True)]
        yield INDENT + "  ".join(cells).rstrip()
