"""``freezeplan train``: show the plan, then train exactly that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezeplan.cli.compiling import Compiled, compiled
from freezeplan.cli.options import common_options, spec_argument
from freezeplan.cli.status import CLEAN, INTERRUPTED
from freezeplan.cli.streams import Settings, console_for, print_out, report, report_below

if TYPE_CHECKING:
    from freezeplan.train.run import RunResult


@click.command(short_help="Train by a spec: the plan first, then the run.")
@spec_argument(required=False)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Default: runs/NAME of the spec.")
@click.option("--overwrite", is_flag=True, help="Replace an unfinished run in DIR.")
@common_options
@click.pass_obj
def train(settings: Settings, spec: Path, out: Path | None, overwrite: bool) -> int:
    """Show the plan of SPEC (default: freezeplan.toml), then train exactly that into DIR.

    The run ends with the evidence: frozen tensors are bit-identical, trainable ones moved. Ctrl-C
    leaves the last complete epoch in DIR.
    """
    from freezeplan.render.table import PlanView

    work = compiled(spec)
    print_out(PlanView(work.plan, work.inventory.notes), settings)
    report_below(work.plan.diagnostics, settings)
    print_out("", settings)
    settings.raise_if_interrupted()
    result = _trained(work, out or Path("runs") / spec.stem, settings, overwrite=overwrite)
    report(result.diagnostics, settings)
    return INTERRUPTED if result.status == "interrupted" else CLEAN


def _trained(work: Compiled, out: Path, settings: Settings, *, overwrite: bool) -> RunResult:
    from freezeplan.train.progress import ProgressView
    from freezeplan.train.run import train as run_training

    with ProgressView(console_for(sys.stdout, settings)) as view:
        return run_training(work.spec, out, view, work.plan, overwrite)
