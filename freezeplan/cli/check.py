"""``freezeplan check``: one verdict per spec, for continuous integration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezeplan.cli.compiling import compiled_spec
from freezeplan.cli.options import common_options, format_option, model_option, remote_code_option
from freezeplan.cli.status import CLEAN, FOUND, status_of
from freezeplan.cli.streams import Settings, print_err, print_json, print_out, report
from freezeplan.diagnostics import Diagnostic, DiagnosticError

if TYPE_CHECKING:
    from freezeplan.spec.tables import Spec

WORDS = {CLEAN: ("ok", "green"), FOUND: ("failed", "bold red")}
OTHER = ("unreadable", "bold red")


@dataclass(frozen=True)
class Verdict:
    """What checking one spec with one model gave; ``detail`` says how much of it trains, if it compiled.

    ``model`` is None for the spec's own model, and for a spec that cannot be read.
    """

    spec: Path
    model: str | None
    status: int
    diagnostics: tuple[Diagnostic, ...]
    detail: str = ""


@click.command(short_help="Check specs: one line each, exit status for CI.")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Let warnings fail too.")
@model_option(multiple=True)
@format_option("full", "json")
@remote_code_option
@common_options
@click.pass_obj
def check(
    settings: Settings, specs: tuple[Path, ...], strict: bool, models: tuple[str, ...], form: str
) -> int:
    """Check every SPEC against its model, or against each --model, without weights or network.

    Exits with 0 when all are clean, 1 when one has errors (with --strict: or warnings), 2 when one
    cannot be read.
    """
    verdicts = []
    for verdict in (item for spec in specs for item in verdicts_of(spec, models or (None,), strict=strict)):
        settings.raise_if_interrupted()
        verdicts.append(verdict)
        if form == "full":
            _print_verdict(verdict, settings)
    if form == "json":
        print_json(json.dumps({"specs": [_record(item) for item in verdicts]}, indent=2))
    return max(item.status for item in verdicts)


def verdicts_of(path: Path, models: Sequence[str | None], *, strict: bool) -> Iterator[Verdict]:
    """Yield the verdict on a spec with each model; one alone when the spec itself is wrong."""
    from freezeplan.spec.reading import load_spec

    try:
        spec = load_spec(path)
    except DiagnosticError as error:
        yield Verdict(path, None, status_of(error.diagnostics, strict=strict), error.diagnostics)
        return
    for model in models:
        yield _verdict(path, spec, model, strict=strict)


def _verdict(path: Path, spec: Spec, model: str | None, *, strict: bool) -> Verdict:
    from freezeplan.render.summary import trained_line

    try:
        plan = compiled_spec(spec, model).plan
    except DiagnosticError as error:
        return Verdict(path, model, status_of(error.diagnostics, strict=strict), error.diagnostics)
    status = status_of(plan.diagnostics, strict=strict)
    return Verdict(path, model, status, plan.diagnostics, f"{trained_line(plan)} train")


def _print_verdict(item: Verdict, settings: Settings) -> None:
    from rich.text import Text

    from freezeplan.render.diagnostics import summary_line
    from freezeplan.render.visible import visible

    word, style = WORDS.get(item.status, OTHER)
    head = (word.ljust(len(OTHER[0])), style)
    facts = [fact for fact in (item.detail, summary_line(item.diagnostics)) if fact]
    model = f" with {item.model}" if item.model else ""
    name = visible(f"{item.spec}{model}", keep="")
    print_out(Text.assemble(head, f"  {name}: {'; '.join(facts)}", overflow="fold"), settings)
    report(item.diagnostics, settings, summary=False)
    if item.diagnostics and settings.diagnostics == "full":
        print_err("", settings)


def _record(item: Verdict) -> dict[str, object]:
    from freezeplan.render.diagnostics import diagnostics_record

    word, _ = WORDS.get(item.status, OTHER)
    found = diagnostics_record(item.diagnostics)
    return {"spec": item.spec.as_posix(), "model": item.model, "verdict": word, **found}
