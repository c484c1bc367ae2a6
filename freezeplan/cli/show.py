"""``freezeplan show``: the plan of a spec."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezeplan.cli.compiling import compiled
from freezeplan.cli.options import common_options, format_option, spec_argument
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_json, print_out, report_below

if TYPE_CHECKING:
    from freezeplan.plan.records import Plan
    from freezeplan.render.params import ParamsView
    from freezeplan.render.table import PlanView


@click.command(short_help="Show the plan that a spec compiles to.")
@spec_argument(required=False)
@format_option("table", "json")
@click.option("--params", is_flag=True, help="One line per parameter instead of the table.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Also write it to FILE as JSON.")
@common_options
@click.pass_obj
def show(settings: Settings, spec: Path, form: str, params: bool, out: Path | None) -> int:
    """Show the plan that SPEC (default: freezeplan.toml) compiles to.

    No weights and no network are needed. The plan goes to standard output, warnings to standard error.
    """
    if params and form == "json":
        raise click.UsageError("--params is a form of the table; --format json holds every parameter anyway")
    plan = compiled(spec).plan
    if out:
        write_whole(out, _json(plan))
    if form == "json":
        print_json(_json(plan))
    else:
        print_out(_view(plan, params=params), settings)
    report_below(plan.diagnostics, settings)
    return CLEAN


def _json(plan: Plan) -> str:
    from freezeplan.plan.document import to_json

    return to_json(plan)


def _view(plan: Plan, *, params: bool) -> ParamsView | PlanView:
    from freezeplan.render.params import ParamsView
    from freezeplan.render.table import PlanView

    return ParamsView(plan) if params else PlanView(plan)


def write_whole(path: Path, text: str) -> None:
    """Write a text file as UTF-8 so that it is there complete or not at all.

    Raises ``click.FileError`` where the file cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise click.BadParameter(f"cannot write {path}: {_reason(error)}", param_hint="--out") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text.rstrip("\n") + "\n")
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise click.BadParameter(f"cannot write {path}: {_reason(error)}", param_hint="--out") from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
