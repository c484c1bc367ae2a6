"""``freezeplan predict``: the labels of texts or images, by a finished run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from freezeplan.cli.options import NamedPath, common_options, format_option, remote_code_option
from freezeplan.cli.pulsing import pulsing
from freezeplan.cli.starting import begun
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, nobody_reads, print_json, print_out
from freezeplan.cli.writing import check_kept
from freezeplan.diagnostics import DiagnosticError, diagnostic

if TYPE_CHECKING:
    from freezeplan.train.predict import Asked
    from freezeplan.train.pulse import Pulse

LONGEST_LINE = 1 << 26


EPILOG = """\b
Examples:
  freezeplan predict runs/topic "Where is my parcel?"
  freezeplan predict runs/topic --file new.csv --column body --out answers.csv
  freezeplan predict runs/topic --file new.jsonl --probabilities --out answers.parquet
  cat lines.txt | freezeplan predict runs/topic --format json
"""


@click.command(short_help="Label texts or images with a finished run.", epilog=EPILOG)
@click.argument("folder", metavar="DIR", type=NamedPath())
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "--file",
    "source",
    type=NamedPath(exists=True, dir_okay=False, readable=True, allow_dash=True),
    help="Read texts from FILE, one per line, or the rows of a data file; `-` is standard input.",
)
@click.option("--column", metavar="NAME", help="The column of a data file. Default: the run's own.")
@click.option(
    "--pair-column", metavar="NAME", help="That of the second texts of pairs. Default: the run's own."
)
@click.option(
    "--task", "tasks", metavar="NAME", multiple=True, help="Answer with this task alone (repeatable)."
)
@click.option(
    "--probabilities", is_flag=True, help="Tell the probability of every label, in JSON or with --out."
)
@click.option(
    "--out",
    metavar="FILE",
    type=NamedPath(),
    help="Write the answers into a new FILE, by its ending .jsonl, .csv or .parquet; whole or not at all.",
)
@click.option("--overwrite", is_flag=True, help="Let --out replace a file.")
@click.option("--checkpoint", metavar="NAME", help="A checkpoint of the run: its folder's name, or `best`.")
@click.option(
    "--max-new-tokens",
    "most_new",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most tokens of a language model's completion. Default: 64.",
)
@format_option("text", "json")
@remote_code_option
@common_options
@click.pass_obj
def predict(
    settings: Settings,
    folder: Path,
    texts: tuple[str, ...],
    source: Path | None,
    column: str | None,
    pair_column: str | None,
    tasks: tuple[str, ...],
    probabilities: bool,
    out: Path | None,
    overwrite: bool,
    checkpoint: str | None,
    most_new: int | None,
    form: str,
) -> int:
    """Label each TEXT with every task of the run in DIR, one line (or JSON object) per text.

    Without TEXT and --file, texts are read from standard input, one per line. A FILE that ends like a data
    file (.jsonl, .csv, .parquet …) is read like training data: the column that the run's own data have, unless
    --column names another one. For a run that reads images, each TEXT is the path of an image file; for tasks over
    pairs of texts, two texts with a tab between them. A language model goes on where TEXT ends, always with its
    most probable token.

    With --out nothing stands at the place of FILE until all answers are written: a stop leaves no file, or the one
    that was to be overwritten.
    """
    if probabilities and form == "text" and out is None:
        raise click.UsageError("--probabilities are told with `--format json` or `--out FILE`")
    if out is not None:
        from freezeplan.data.table_files import check_new

        check_kept(out)
        check_new(out, overwrite=overwrite)
    if checkpoint is not None:
        from freezeplan.train.saved_run import checkpoint_folder

        folder = checkpoint_folder(folder, checkpoint)
    from freezeplan.train.predict import Asked

    asked = Asked(tasks or None, probabilities, most_new)
    with pulsing(settings, always=out is not None) as pulse:
        answers = _answers(folder, texts, source, (column, pair_column), asked)
        counted = _counted(answers, pulse)
        if out is not None:
            print_out(_written(out, overwrite, counted), settings)
            return CLEAN
        for answer in counted:
            if nobody_reads():
                break
            if form == "json":
                print_json(json.dumps(answer, ensure_ascii=False))
            else:
                print_out(_line(answer), settings)
    return CLEAN


def _counted(answers: Iterator[dict[str, Any]], pulse: Pulse) -> Iterator[dict[str, Any]]:
    for number, answer in enumerate(answers, 1):
        begun()
        yield answer
        pulse.now = f"{number:,} {'input' if number == 1 else 'inputs'} labelled"


def _written(out: Path, overwrite: bool, answers: Iterable[dict[str, Any]]) -> str:
    """Write answers into a file; returns what to say of it."""
    from freezeplan.data.table_files import new_table
    from freezeplan.diagnostics.wording import counted

    number = 0
    with new_table(out, overwrite=overwrite) as table:
        for number, answer in enumerate(answers, 1):  # noqa: B007 - counted
            table.add(answer)
    return f"wrote {out}: {counted(number, 'answer')}"


def _answers(
    folder: Path,
    texts: tuple[str, ...],
    source: Path | None,
    columns: tuple[str | None, str | None],
    asked: Asked,
) -> Iterator[dict[str, Any]]:
    from freezeplan.data.files import is_data_file

    rows = source if source is not None and is_data_file(source) else None
    column, pair_column = columns
    if any(columns) and rows is None:
        raise click.UsageError("--column is of a data file: name one with --file")
    inputs = _inputs(texts, source) if rows is None or texts else ()
    from freezeplan.train.predict import predict, predict_file

    if rows is None:
        return predict(folder, inputs, asked)
    return predict_file(folder, rows, column, asked, pair_column)


def _inputs(texts: tuple[str, ...], source: Path | None) -> Iterable[str]:
    if texts and source:
        raise click.UsageError("texts stand on the command line or in --file, not both")
    if texts:
        return _checked(texts)
    if source is None and sys.stdin.isatty():
        raise click.UsageError("there is no text: name some, or use --file, or pipe lines in")
    # A byte order mark is no part of the first text.
    return _checked(
        _lines(click.open_file(str(source or "-"), "r", encoding="utf-8-sig", errors="surrogateescape"))
    )


def _lines(source: TextIO) -> Iterator[str]:
    number = 0
    while line := source.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            message = f"input {number} is longer than {LONGEST_LINE:,} characters"
            raise DiagnosticError([diagnostic("FP530", message, help="write one text per line")])
        yield line.removesuffix("\n").removesuffix("\r")


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """Pass texts on; bytes that are not UTF-8 arrive as lone surrogates and are refused."""
    for number, text in enumerate(texts, 1):
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise DiagnosticError([diagnostic("FP530", f"input {number} is not UTF-8 text")])
        yield text


def _line(answer: dict[str, Any]) -> Any:
    from rich.text import Text

    from freezeplan.render.visible import visible

    line = Text(overflow="fold")
    # What was labelled stands first, under the names of its kind.
    given = [_text_of(value) for value in answer.values()]
    given = [value for value in given if isinstance(value, str)]
    for task, found in answer.items():
        if not isinstance(found, dict):
            continue
        line.append(f"{task}: ", style="dim")
        for what, certainty in _found(found):
            line.append(visible(what, keep=""), style="bold").append(certainty, style="dim")
        line.append("  ")
    return line.append(" | ".join(visible(text, keep="") for text in given))


def _text_of(given: Any) -> Any:
    """Return words as a text, and of a conversation what was said last."""
    if not isinstance(given, list):
        return given
    return " ".join(given) if isinstance(given[0], str) else given[-1]["content"]


def _found(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a task answers, and what is said of it besides."""
    if "label" in answer:
        yield answer["label"], f" ({answer['score']:.2f})"
    elif "labels" in answer:
        yield from _several(answer["labels"], answer["scores"])
    elif "tags" in answer:
        yield " ".join(tag or "-" for tag in answer["tags"]), ""
    elif "completion" in answer:
        yield answer["completion"], ""
    elif "value" in answer:
        yield f"{answer['value']:.4g}", ""
    elif "values" in answer:
        yield ", ".join(f"{name} {value:.4g}" for name, value in answer["values"].items()), ""
    else:
        yield ", ".join(str(value) for value in answer.values()), ""


def _several(labels: Sequence[str], scores: Sequence[float]) -> Iterator[tuple[str, str]]:
    if not labels:
        yield "none", ""
    for place, (label, score) in enumerate(zip(labels, scores, strict=True), 1):
        yield label, f" ({score:.2f})" + (", " if place < len(labels) else "")
