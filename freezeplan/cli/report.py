"""``freezeplan report``: runs, comparisons and probes as one page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezeplan.cli.options import NamedPath, common_options, format_option
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_err, print_json
from freezeplan.cli.version import freezeplan_version
from freezeplan.cli.writing import write_whole

if TYPE_CHECKING:
    from freezeplan.report.reading import Pricing

DEFAULT = Path("report.html")
OURS = b'<meta name="generator" content="freezeplan'
HEAD = 2000


@click.command(name="report", short_help="Write runs, comparisons and probes as one page to look at.")
@click.argument("sources", nargs=-1, required=True, metavar="RUN...", type=NamedPath())
@format_option("html", "json")
@click.option(
    "--out",
    type=NamedPath(),
    metavar="FILE",
    help=f"The page (default: {DEFAULT}); - prints it.",
)
@click.option("--cost", is_flag=True, help="Also the bytes and FLOPs that are predicted for each run.")
@common_options
@click.pass_obj
def report(settings: Settings, sources: tuple[Path, ...], form: str, out: Path | None, cost: bool) -> int:
    """Write one HTML page about each RUN: the folder of a run or of a comparison, or the file of a probe.

    The page needs nothing else: no script, no network. It holds the plan as layers x phases, rates, losses and
    metrics over the steps, scores class by class, evidence, costs and surroundings; of several runs what differs
    between their plans. Everything comes from the records on disk. A run that is not finished, or whose files were
    changed, gets a page that says so. --format json prints the same record.
    """
    from freezeplan.plan.document import as_json
    from freezeplan.report.reading import read_report

    found = read_report(sources, _pricing() if cost else None)
    settings.raise_if_interrupted()
    if form == "json":
        text = as_json(found.to_record())
    else:
        from freezeplan.report.page import report_html

        text = report_html(found, freezeplan_version())
    if form == "json" and out is None or str(out) == "-":
        print_json(text)
    else:
        _write(out, text, settings)
    return CLEAN


def _write(out: Path | None, text: str, settings: Settings) -> None:
    from freezeplan.diagnostics.wording import format_bytes

    if out is None and not _may_replace(DEFAULT):
        raise click.UsageError(f"`{DEFAULT}` is there, and no report of freezeplan: name a file with --out")
    path = out or DEFAULT
    write_whole(path, text)
    print_err(f"written: {path} ({format_bytes(len(text.encode()))})", settings)


def _may_replace(path: Path) -> bool:
    """Whether nothing is there, or an earlier report."""
    if not path.exists():
        return True
    try:
        with path.open("rb") as file:
            return OURS in file.read(HEAD)
    except OSError:
        return False


def _pricing() -> Pricing:
    from freezeplan.train.own_cost import own_cost

    return own_cost
