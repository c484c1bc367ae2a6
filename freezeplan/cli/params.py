"""``freezeplan params``: what a model consists of, before any spec."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from freezeplan.cli.compiling import for_model
from freezeplan.cli.options import class_option, common_options, format_option, remote_code_option
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_json, print_out

if TYPE_CHECKING:
    from freezeplan.inventory.records import Inventory


@click.command(short_help="List a model's parameters with shapes, roles and layers.")
@click.argument("model", metavar="MODEL")
@class_option
@format_option("table", "json")
@click.option("--tree", is_flag=True, help="The tree of modules, alike layers folded into one.")
@remote_code_option
@common_options
@click.pass_obj
def params(settings: Settings, model: str, class_name: str | None, form: str, tree: bool) -> int:
    """List the parameters of MODEL: name, shape, number format, layer and roles.

    MODEL is a hub name, a folder, a .safetensors file, package:NAME/SUBDIR, timm:NAME, a config.json, or a model type.
    No weights are read.
    """
    if tree and form == "json":
        raise click.UsageError("--tree is a form of the table; --format json holds every parameter anyway")
    from freezeplan.render.inventory import InventoryView, TreeView, inventory_record

    inventory = _inventory(model, class_name)
    if form == "json":
        print_json(json.dumps(inventory_record(inventory), indent=2, ensure_ascii=False))
    else:
        print_out(TreeView(inventory) if tree else InventoryView(inventory), settings)
    return CLEAN


def _inventory(model: str, class_name: str | None) -> Inventory:
    from freezeplan.models.overriding import with_model
    from freezeplan.models.sources import inventory_for
    from freezeplan.spec.reading import load_spec

    spec = load_spec({"model": {"class": class_name} if class_name else {}})
    with for_model(model, "MODEL"):
        return inventory_for(with_model(spec, model))
