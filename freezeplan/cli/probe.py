"""``freezeplan probe``: how much of each task every depth of the backbone already holds."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from freezeplan.cli.compiling import compiled
from freezeplan.cli.options import NamedPath, common_options, format_option, remote_code_option, spec_argument
from freezeplan.cli.starting import begun
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, console_for, print_json, print_out, report_below
from freezeplan.cli.writing import check_target, write_whole


@click.command(short_help="Score a linear probe of every layer, to see where to cut.")
@spec_argument(required=False)
@format_option("table", "json")
@click.option("--out", type=NamedPath(), metavar="FILE", help="Also write it to FILE as JSON.")
@remote_code_option
@common_options
@click.pass_obj
def probe(settings: Settings, spec: Path, form: str, out: Path | None) -> int:
    """Say how much of each task of SPEC (default: freezeplan.toml) every depth of its backbone holds.

    The backbone runs once over the training and validation data, as its source has it: the rules play no part.
    At each depth a linear map is fitted to the training rows and scored on the validation rows, with a standard
    error. The table says what each layer adds, and after which one the features stop getting better: the first
    depth within one standard error of the best. Nothing is trained, and test data are not read.
    """
    if out:
        check_target(out, spec=spec)
    work = compiled(spec)
    settings.raise_if_interrupted()
    from freezeplan.choose.probe_view import ProbeView
    from freezeplan.choose.probing import probe as run_probe
    from freezeplan.plan.document import as_json
    from freezeplan.runs.events import Event
    from freezeplan.train.progress import ProgressView

    with ProgressView(console_for(sys.stderr, settings)) as view:

        def see(event: Event) -> None:
            begun()
            settings.raise_if_interrupted()
            view(event)

        found = run_probe(work.spec, see, work.plan)
    text = as_json(found.to_record())
    if out:
        write_whole(out, text)
    if form == "json":
        print_json(text)
    else:
        print_out(ProbeView(found), settings)
    report_below(work.plan.diagnostics, settings)
    return CLEAN
