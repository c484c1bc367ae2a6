"""``freezeplan verify``: does a run's folder still prove what it says?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freezeplan.cli.options import NamedPath, common_options, format_option
from freezeplan.cli.status import CLEAN, FOUND
from freezeplan.cli.streams import Settings, print_json, print_out, report

if TYPE_CHECKING:
    from freezeplan.runs.verify import Verified


@click.command(short_help="Re-check a run's folder: files, weights, plan, evidence.")
@click.argument("folder", metavar="DIR", type=NamedPath())
@format_option("full", "json")
@common_options
@click.pass_obj
def verify(settings: Settings, folder: Path, form: str) -> int:
    """Check the run in DIR against what it says of itself, without loading the model.

    Every file and tensor is hashed again: files against run.json, weights against the evidence, the
    evidence against the plan and its own statement. Exits with 1 when anything differs.
    """
    from freezeplan.runs.verify import verify_run

    found = verify_run(folder)
    if form == "json":
        print_json(json.dumps(_record(found), indent=2, ensure_ascii=False))
    else:
        print_out(_verdict(found, folder), settings)
    report(found.diagnostics, settings)
    return CLEAN if found.holds else FOUND


def _verdict(found: Verified, folder: Path) -> Any:
    from rich.text import Text

    from freezeplan.diagnostics.wording import counted
    from freezeplan.render.visible import visible

    head = ("verified", "green") if found.holds else ("NOT VERIFIED", "bold red")
    checked = f"{counted(found.files, 'file')} and {counted(found.tensors, 'tensor')} checked"
    text = f": {folder} ({found.status}); {checked}; {found.statement}"
    return Text.assemble(head, visible(text, keep=""), overflow="fold")


def _record(found: Verified) -> dict[str, Any]:
    from freezeplan.render.diagnostics import diagnostics_record

    return {
        "verified": found.holds,
        "status": found.status,
        "statement": found.statement,
        "files": found.files,
        "tensors": found.tensors,
        **diagnostics_record(found.diagnostics),
    }
