"""``freezeplan check``: one verdict per spec, for continuous integration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click

from freezeplan.cli.compiling import compiled
from freezeplan.cli.options import common_options, format_option
from freezeplan.cli.status import CLEAN, FOUND, status_of
from freezeplan.cli.streams import Settings, print_err, print_json, print_out, report
from freezeplan.diagnostics import Diagnostic, DiagnosticError

WORDS = {CLEAN: ("ok", "green"), FOUND: ("failed", "bold red")}
OTHER = ("unreadable", "bold red")


@dataclass(frozen=True)
class Verdict:
    """What checking one spec gave; ``detail`` says how much of the model trains, if it compiled."""

    spec: Path
    status: int
    diagnostics: tuple[Diagnostic, ...]
    detail: str = ""


@click.command(short_help="Check specs: one line each, exit status for CI.")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Let warnings fail too.")
@format_option("full", "json")
@common_options
@click.pass_obj
def check(settings: Settings, specs: tuple[Path, ...], strict: bool, form: str) -> int:
    """Check every SPEC against its model, without weights or network.

    Exits with 0 when all are clean, 1 when one has errors (with --strict: or warnings), 2 when one
    cannot be read.
    """
    verdicts = []
    for spec in specs:
        verdicts.append(verdict(spec, strict=strict))
        if form == "full":
            _print_verdict(verdicts[-1], settings)
    if form == "json":
        print_json(json.dumps({"specs": [_record(item) for item in verdicts]}, indent=2))
    return max(item.status for item in verdicts)


def verdict(spec: Path, *, strict: bool) -> Verdict:
    """Compile one spec and weigh what was found."""
    from freezeplan.render.summary import trainable_line

    try:
        plan = compiled(spec).plan
    except DiagnosticError as error:
        return Verdict(spec, status_of(error.diagnostics, strict=strict), error.diagnostics)
    status = status_of(plan.diagnostics, strict=strict)
    return Verdict(spec, status, plan.diagnostics, f"{trainable_line(plan, plan.phases[0])} train")


def _print_verdict(item: Verdict, settings: Settings) -> None:
    from rich.text import Text

    from freezeplan.render.diagnostics import summary_line
    from freezeplan.render.visible import visible

    word, style = WORDS.get(item.status, OTHER)
    head = (word.ljust(len(OTHER[0])), style)
    facts = [fact for fact in (item.detail, summary_line(item.diagnostics)) if fact]
    name = visible(str(item.spec), keep="")
    print_out(Text.assemble(head, f"  {name}: {'; '.join(facts)}", overflow="fold"), settings)
    report(item.diagnostics, settings, summary=False)
    if item.diagnostics and settings.diagnostics == "full":
        print_err("", settings)


def _record(item: Verdict) -> dict[str, object]:
    from freezeplan.render.diagnostics import diagnostics_record

    word, _ = WORDS.get(item.status, OTHER)
    return {"spec": item.spec.as_posix(), "verdict": word, **diagnostics_record(item.diagnostics)}
