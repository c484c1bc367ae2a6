"""``freezeplan fmt``: specs laid out in one way."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from freezeplan.cli.options import NamedPath, common_options
from freezeplan.cli.status import CLEAN, FOUND
from freezeplan.cli.streams import Settings, print_json, print_out
from freezeplan.cli.writing import write_bytes
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic

PIPE = Path("-")


@dataclass(frozen=True)
class LaidOut:
    """A spec's text as it is, and as it would be."""

    path: Path
    before: bytes
    after: bytes


@click.command(short_help="Lay specs out in one way; comments stay.")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", type=NamedPath())
@click.option(
    "--check", "only_check", is_flag=True, help="Write nothing; exit with 1 where one would change."
)
@common_options
@click.pass_obj
def fmt(settings: Settings, specs: tuple[Path, ...], only_check: bool) -> int:
    """Lay each SPEC out in one way, in place; - takes one from standard input to standard output.

    Blank space and line breaks change, and what is read from the text stays the same: comments, the order,
    the form of strings and numbers. Nothing is written unless all of them can be read.
    """
    found = list(_all_laid(specs))
    changed = [item for item in found if item.before != item.after]
    for item in found:
        if item.path == PIPE and not only_check:
            print_json(item.after.decode())
        elif item in changed:
            _change(item, settings, only_check=only_check)
    return FOUND if changed and only_check else CLEAN


def _change(item: LaidOut, settings: Settings, *, only_check: bool) -> None:
    from freezeplan.render.visible import visible

    if not only_check:
        write_bytes(item.path, item.after, "SPEC")
    word = "would change" if only_check else "changed"
    print_out(f"{word} {visible(str(item.path), keep='')}", settings)


def _all_laid(paths: Iterable[Path]) -> Iterator[LaidOut]:
    """Yield all specs laid out. Raises ``DiagnosticError`` with what is wrong with any of them."""
    problems: list[Diagnostic] = []
    for path in paths:
        try:
            yield _laid(path)
        except DiagnosticError as error:
            problems += error.diagnostics
    if problems:
        raise DiagnosticError(problems)


def _laid(path: Path) -> LaidOut:
    """Read a spec and lay it out. Raises ``DiagnosticError`` for what is not TOML."""
    from freezeplan.spec.formatting import formatted
    from freezeplan.spec.parsing import parse
    from freezeplan.spec.sources import UnreadableSpec, read_file, read_text

    try:
        source = read_text(sys.stdin.buffer) if path == PIPE else read_file(path)
    except UnreadableSpec as problem:
        raise DiagnosticError([problem.as_diagnostic()]) from None
    parse(source)
    try:
        after = formatted(source.text)
        same = repr(tomllib.loads(source.text)) == repr(tomllib.loads(after))
    except ValueError:
        same = False
    if not same:
        message = f"`{source.name}` is written in a form of TOML that is not laid out"
        advice = "it is valid, and stays as it is; other forms: inline tables on one line"
        raise DiagnosticError([diagnostic("FP149", message, help=advice)])
    return LaidOut(path, source.text.encode(), after.encode())
