"""``freezeplan why``: every rule that touched one parameter."""

from __future__ import annotations

import json
from pathlib import Path

import click

from freezeplan.cli.compiling import for_model
from freezeplan.cli.options import (
    common_options,
    format_option,
    model_option,
    remote_code_option,
    spec_argument,
)
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_json, print_out


@click.command(short_help="Say for one parameter which rules touched it and which won.")
@spec_argument(required=True)
@click.argument("parameter")
@click.option("--phase", metavar="NAME", help="The phase to explain, by name or number. Default: the last.")
@format_option("table", "json")
@model_option()
@remote_code_option
@common_options
@click.pass_obj
def why(
    settings: Settings, spec: Path, parameter: str, phase: str | None, form: str, model: str | None
) -> int:
    """Say which rules of SPEC touched PARAMETER of its model or another one, what each set, which won and why.

    PARAMETER is a name as `show --params` prints it, or another name of a tied tensor; the base
    model's prefix may be left out.
    """
    from freezeplan.models.overriding import with_model
    from freezeplan.models.sources import inventory_for
    from freezeplan.plan.why import explain
    from freezeplan.render.why import WhyView, why_record
    from freezeplan.spec.reading import load_spec

    read = load_spec(spec)
    with for_model(model):
        read = read if model is None else with_model(read, model)
        found = explain(inventory_for(read), read, parameter, phase)
    if form == "json":
        print_json(json.dumps(why_record(found), indent=2))
    else:
        print_out(WhyView(found), settings)
    return CLEAN
