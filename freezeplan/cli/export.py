"""``freezeplan export``: a run in the form of another library."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from freezeplan.cli.options import NamedPath, common_options, format_option
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_err, print_json, print_out
from freezeplan.export import FORM_NAMES


@click.command(short_help="Write a run in the form of another library, proved against it.")
@click.argument("folder", metavar="DIR", type=NamedPath())
@click.argument("out", metavar="FOLDER", type=NamedPath())
@click.option("--to", "library", type=click.Choice(FORM_NAMES), required=True, help="The other library.")
@click.option("--task", metavar="NAME", help="The task to export; needed where the run has several.")
@click.option("--checkpoint", metavar="NAME", help="A checkpoint of the run: its folder's name, or `best`.")
@click.option(
    "--data",
    type=NamedPath(exists=True, dir_okay=False),
    help="Prove it on the rows of FILE. Default: the data that the run's spec names.",
)
@click.option("--column", metavar="NAME", help="The column of FILE. Default: that of the run's data.")
@format_option("full", "json")
@common_options
@click.pass_obj
def export(
    settings: Settings,
    folder: Path,
    out: Path,
    library: str,
    task: str | None,
    checkpoint: str | None,
    data: Path | None,
    column: str | None,
    form: str,
) -> int:
    """Write a task of the run in DIR into FOLDER, a new folder that another library loads.

    Both sides, the run and what the library loads from FOLDER, are run on the task's own inputs before FOLDER
    gets its name; the largest difference is printed. What cannot be expressed there is refused with the reason.
    """
    if column is not None and data is None:
        raise click.UsageError("--column names a column of the file that --data names")
    from freezeplan.export.exporting import export as export_run

    found = export_run(folder, library, out, task, checkpoint, data, column)
    if form == "json":
        print_json(json.dumps({**asdict(found), "folder": str(out)}, indent=2, ensure_ascii=False))
    else:
        print_out(f"exported: {found.statement}", settings)
    if found.cut:
        note = f"note: {found.cut} of these texts are longer than the model reads; pass truncation=True to a pipeline"
        print_err(note, settings)
    return CLEAN
