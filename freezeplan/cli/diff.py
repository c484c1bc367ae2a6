"""``freezeplan diff``: what two specs, plans, locks or runs do differently."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezeplan.cli.locking import surroundings
from freezeplan.cli.options import NamedPath, common_options, format_option, model_option, remote_code_option
from freezeplan.cli.sides import Side, kind_of, read_side
from freezeplan.cli.status import CLEAN, FOUND, UNUSABLE
from freezeplan.cli.streams import Settings, print_json, print_out, report
from freezeplan.diagnostics import DiagnosticError

if TYPE_CHECKING:
    from freezeplan.plan.changes import Comparison

MOST_LINES = 60


@click.command(short_help="Say what two specs, plans, locks or runs do differently.")
@click.argument("sides", nargs=-1, required=True, metavar="A [B]", type=NamedPath())
@model_option(multiple=True)
@format_option("full", "json", "markdown")
@remote_code_option
@common_options
@click.pass_obj
def diff(settings: Settings, sides: tuple[Path, ...], models: tuple[str, ...], form: str) -> int:
    """Say which tensors A and B treat differently: state, rate, weight decay, phases, and by which rules.

    A and B are specs (.toml), plans (.json), locks (.lock) or folders of runs, in any mixture; - is a lock
    or a plan from standard input. One spec is compared with itself under another --model, or under two.
    Tensors that are only called otherwise are compared under their new names.

    Exits with 0 when both do the same, 1 when they differ, 2 when a side cannot be read or does not compile.
    """
    pairs = _asked(sides, models)
    try:
        before, after = (read_side(path, model) for path, model in pairs)
    except DiagnosticError as error:
        report(error.diagnostics, settings)
        return UNUSABLE
    settings.raise_if_interrupted()
    from freezeplan.plan.changes import compare

    found = compare(before.record, after.record)
    _show(found, before, after, form, settings)
    return FOUND if found.count else CLEAN


def _asked(sides: Sequence[Path], models: Sequence[str]) -> list[tuple[Path, str | None]]:
    """Return the two sides, each with the model that stands in for its own."""
    if len(sides) > 2 or len(models) > 2:
        raise click.UsageError("two sides are compared, not more")
    if models and not all(kind_of(path) == "spec" for path in sides):
        raise click.UsageError("--model is for specs: plans, locks and runs have their model")
    if len(sides) == 1:
        if not models:
            raise click.UsageError("name what to compare it with: a second side, or a --model")
        own: list[str | None] = [None] if len(models) == 1 else []
        return [(sides[0], model) for model in [*own, *models]]
    if len(models) == 2:
        raise click.UsageError("two --model compare one spec with itself: name one spec")
    return [(path, models[0] if models else None) for path in sides]


def _show(found: Comparison, before: Side, after: Side, form: str, settings: Settings) -> None:
    from freezeplan.render.changes import comparison_markdown, comparison_record

    if form == "json":
        record = comparison_record(found, before.about, after.about)
        print_json(json.dumps(record, indent=2, ensure_ascii=False))
    elif form == "markdown":
        print_json(comparison_markdown(found, before.name, after.name))
    else:
        _print_lines(found, before, after, settings)


def _print_lines(found: Comparison, before: Side, after: Side, settings: Settings) -> None:
    from rich.text import Text

    from freezeplan.diagnostics.wording import counted, first_few
    from freezeplan.render.changes import change_lines
    from freezeplan.render.visible import visible

    tensors = counted(len(after.record["phases"][0]["parameters"]), "tensor")
    lines = change_lines(found)
    count = counted(len(lines), "change") if lines else f"no change, the same is done to {tensors}"
    names = " -> ".join(visible(side.name, keep="") for side in (before, after))
    print_out(Text(f"{names}: {count}", style="bold", overflow="fold"), settings)
    for line in first_few(lines, MOST_LINES):
        print_out(Text(f"  {line}", overflow="fold"), settings)
    if before.head is not None and after.head is not None:
        causes = list(surroundings(before.head, after.head))
        if causes:
            print_out(
                Text(f"they come from other surroundings: {', '.join(causes)}", overflow="fold"), settings
            )
