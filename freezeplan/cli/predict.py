"""``freezeplan predict``: the labels of texts or images, by a finished run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from freezeplan.cli.options import common_options, format_option, remote_code_option
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_json, print_out
from freezeplan.diagnostics import DiagnosticError, diagnostic


@click.command(short_help="Label texts or images with a finished run.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "--file",
    "source",
    type=click.File("r", encoding="utf-8", errors="surrogateescape"),
    help="Read texts from FILE, one per line; `-` is standard input.",
)
@format_option("text", "json")
@remote_code_option
@common_options
@click.pass_obj
def predict(
    settings: Settings, folder: Path, texts: tuple[str, ...], source: TextIO | None, form: str
) -> int:
    """Label each TEXT with every task of the run in DIR, one line (or JSON object) per text.

    Without TEXT and --file, texts are read from standard input, one per line. For a run that reads
    images, each TEXT is the path of an image file.
    """
    inputs = _inputs(texts, source)
    from freezeplan.train.predict import predict as label

    for answer in label(folder, inputs):
        if form == "json":
            print_json(json.dumps(answer, ensure_ascii=False))
        else:
            print_out(_line(answer), settings)
    return CLEAN


def _inputs(texts: tuple[str, ...], source: TextIO | None) -> Iterable[str]:
    if texts and source:
        raise click.UsageError("texts stand on the command line or in --file, not both")
    if texts:
        return _checked(texts)
    if source is None and sys.stdin.isatty():
        raise click.UsageError("there is no text: name some, or use --file, or pipe lines in")
    return _checked(_lines(source or click.open_file("-", "r", encoding="utf-8", errors="surrogateescape")))


def _lines(source: TextIO) -> Iterator[str]:
    for line in source:
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
    # What was labelled stands first, under the name of its kind.
    (_, given), *tasks = answer.items()
    for task, found in tasks:
        line.append(f"{task}: ", style="dim").append(visible(found["label"], keep=""), style="bold")
        line.append(f" ({found['score']:.2f})  ", style="dim")
    return line.append(visible(given, keep=""))
