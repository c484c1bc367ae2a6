"""``freezeplan schema``: the JSON Schema of the language."""

from __future__ import annotations

import click

from freezeplan.cli.options import common_options
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import print_json


@click.command(short_help="Print the JSON Schema of the language, for editors.")
@common_options
def schema() -> int:
    """Print the JSON Schema of a spec; an editor completes and checks a spec whose first line names it."""
    from freezeplan.spec.schema import schema_text

    print_json(schema_text())
    return CLEAN
