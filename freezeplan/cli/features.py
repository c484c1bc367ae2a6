"""``freezeplan features``: what a backbone makes of each row, as vectors in a file."""

from __future__ import annotations

from pathlib import Path

import click

from freezeplan.cli.options import NamedPath, common_options, remote_code_option
from freezeplan.cli.pulsing import pulsing
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_out, report_below
from freezeplan.cli.writing import check_kept

EPILOG = """\b
Examples:
  freezeplan features runs/topic --out topic.parquet
  freezeplan features spec.toml --out topic.parquet --layer 3
  freezeplan features runs/topic --data new.csv --column body --out new.parquet
"""


@click.command(short_help="Write a backbone's vector of each row into a file.", epilog=EPILOG)
@click.argument("source", metavar="SOURCE", type=NamedPath())
@click.option(
    "--out",
    metavar="FILE",
    type=NamedPath(),
    required=True,
    help="A new FILE that ends in .parquet; whole or not at all.",
)
@click.option("--overwrite", is_flag=True, help="Let --out replace a file.")
@click.option(
    "--data",
    type=NamedPath(exists=True),
    help="The rows of FILE. Default: all rows of the spec's data.",
)
@click.option("--column", metavar="NAME", help="The column of FILE that the model reads.")
@click.option("--pair-column", metavar="NAME", help="That of the second texts of pairs.")
@click.option(
    "--layer",
    type=click.IntRange(min=0),
    metavar="N",
    help="Pool the states after this layer, 0 for the embeddings. Default: the backbone's last states.",
)
@click.option("--checkpoint", metavar="NAME", help="A checkpoint of the run: its folder's name, or `best`.")
@remote_code_option
@common_options
@click.pass_obj
def features(
    settings: Settings,
    source: Path,
    out: Path,
    overwrite: bool,
    data: Path | None,
    column: str | None,
    pair_column: str | None,
    layer: int | None,
    checkpoint: str | None,
) -> int:
    """Write the pooled vector of each row into FILE. SOURCE is the folder of a run, or a spec in a .toml file.

    The backbone is the run's, or that of the spec's source as it is.

    Nothing is trained, and no head is needed. The columns are split, file and row, label.TASK for each task, and
    vector, in float32; with --data they are row and vector. Nothing stands at the place of FILE until all rows are
    written.
    """
    if data is None and (column or pair_column):
        raise click.UsageError("--column and --pair-column are of a file: name one with --data")
    from freezeplan.data.table_files import check_new

    check_kept(out)
    check_new(out, overwrite=overwrite, endings=(".parquet",))
    from freezeplan.train.extracting import FeatureFile, extract

    if checkpoint is not None:
        from freezeplan.train.saved_run import checkpoint_folder

        source = checkpoint_folder(source, checkpoint)
    file = None if data is None else FeatureFile(data, column, pair_column)
    with pulsing(settings, always=True) as pulse:

        def told(rows: int) -> None:
            pulse.now = f"{rows:,} rows written"

        found = extract(source, out, file, layer=layer, overwrite=overwrite, told=told)
    print_out(f"wrote {out}: {found.rows:,} vectors of {found.width:,} numbers", settings)
    report_below(found.diagnostics, settings)
    return CLEAN
