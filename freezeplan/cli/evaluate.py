"""``freezeplan evaluate``: how a finished run does on test data, class by class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freezeplan.cli.options import NamedPath, common_options, format_option, remote_code_option
from freezeplan.cli.pulsing import pulsing
from freezeplan.cli.starting import begun
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_json, print_out, report_below

if TYPE_CHECKING:
    from freezeplan.train.examining import RunScores

EPILOG = """\b
Examples:
  freezeplan evaluate runs/topic
  freezeplan evaluate runs/topic --data new.csv --column body --label-column topic
  freezeplan evaluate runs/topic --checkpoint best --format json
"""


@click.command(short_help="Score a finished run on its test data or on a file.", epilog=EPILOG)
@click.argument("folder", metavar="DIR", type=NamedPath())
@click.option(
    "--data",
    type=NamedPath(exists=True),
    help="Evaluate on the rows of FILE. Default: the data that the run's spec names.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    help="Which of the spec's data. Default: test.",
)
@click.option("--column", metavar="NAME", help="The column of FILE that the model reads.")
@click.option("--pair-column", metavar="NAME", help="That of the second texts of pairs.")
@click.option(
    "--label-column",
    "labels",
    metavar="NAME",
    multiple=True,
    help="The column of FILE that holds the labels, tags or numbers; one for each where the task has several.",
)
@click.option("--task", "tasks", metavar="NAME", multiple=True, help="Evaluate this task alone (repeatable).")
@click.option("--checkpoint", metavar="NAME", help="A checkpoint of the run: its folder's name, or `best`.")
@format_option("table", "json")
@remote_code_option
@common_options
@click.pass_obj
def evaluate(
    settings: Settings,
    folder: Path,
    data: Path | None,
    split: str,
    column: str | None,
    pair_column: str | None,
    labels: tuple[str, ...],
    tasks: tuple[str, ...],
    checkpoint: str | None,
    form: str,
) -> int:
    """Score the run in DIR on its test data: the metrics of each task, and each class, label or type of spans.

    With --data the rows of FILE are scored. Its columns are those of the run's own data, unless --column,
    --pair-column and --label-column name others.
    """
    if data is None and (column or pair_column or labels):
        raise click.UsageError(
            "--column, --pair-column and --label-column are of a file: name one with --data"
        )
    from freezeplan.train.examining import AskedRows, evaluate_run

    with pulsing(settings) as pulse:

        def told(task: str, rows: int) -> None:
            pulse.now = f"evaluating task {task}: {rows:,} rows"

        rows = AskedRows(split, data, column, pair_column, labels)
        found = evaluate_run(_place(folder, checkpoint), rows, tasks or None, told)
    begun()
    if form == "json":
        record = {"run": str(folder), "checkpoint": checkpoint, "rows": rows.name, "tasks": found.tasks}
        print_json(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        _print(rows.name, found, settings)
    report_below(found.diagnostics, settings)
    return CLEAN


def _place(folder: Path, checkpoint: str | None) -> Path:
    if checkpoint is None:
        return folder
    from freezeplan.train.saved_run import checkpoint_folder

    return checkpoint_folder(folder, checkpoint)


def _print(name: str, found: RunScores, settings: Settings) -> None:
    from rich.text import Text

    from freezeplan.render.scores import ScoresView
    from freezeplan.train.progress_table import score_lines

    counts = {f"{item['rows']:,} rows" for item in found.tasks.values()}
    title = f"{name}, {counts.pop()}" if len(counts) == 1 else name
    metrics: dict[str, Any] = {task: item["metrics"] for task, item in found.tasks.items()}
    for line in (title, *score_lines(metrics)):
        print_out(Text(line), settings)
    for task, item in found.tasks.items():
        print_out(ScoresView(task, item), settings)
