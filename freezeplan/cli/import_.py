"""``freezeplan import``: a spec from the config of another tool."""

from __future__ import annotations

import os
from pathlib import Path

import click

from freezeplan.cli.options import NamedPath, class_option, common_options, remote_code_option
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_err, print_json, print_out, report
from freezeplan.importing import PEER_NAMES


@click.command("import", short_help="Write the spec that does what another tool's config does.")
@click.argument("config", metavar="FILE", type=NamedPath())
@click.option(
    "--model", required=True, metavar="MODEL", help="What [model] takes as source, or a model type."
)
@click.option("--from", "peer", type=click.Choice(PEER_NAMES), help="The tool (default: known by the keys).")
@class_option
@click.option(
    "--prefix", default="", metavar="PREFIX", help="What stands before the names there, such as model."
)
@click.option("--lr", type=float, metavar="RATE", help="The base learning rate, where the config has none.")
@click.option(
    "--literal", "meant", flag_value=False, type=bool, default=None, help="Do what the config does."
)
@click.option(
    "--intended", "meant", flag_value=True, type=bool, help="Do what the config evidently should do."
)
@click.option("--out", type=NamedPath(), metavar="SPEC", help="Where to write it (default: print it).")
@remote_code_option
@common_options
@click.pass_obj
def import_(
    settings: Settings,
    config: Path,
    model: str,
    peer: str | None,
    class_name: str | None,
    prefix: str,
    lr: float | None,
    meant: bool | None,
    out: Path | None,
) -> int:
    """Write the spec that does to MODEL what another tool's config FILE does, and prove it.

    The config's own rule of matching is applied to the model's names; the spec is compiled, and every tensor
    must be frozen or train at the same rate and weight decay, in every phase. What hits other tensors than it
    evidently should is named line by line: choose --literal or --intended. What cannot be said is refused.
    """
    from freezeplan.cli.init import write_new
    from freezeplan.importing.config_file import read_config
    from freezeplan.importing.translating import peer_of, translate
    from freezeplan.render.summary import trained_line

    if out is not None and os.path.lexists(out):
        raise click.BadParameter(f"{out} exists, and is never replaced", param_hint="--out")
    if lr is not None and not 0 < lr < float("inf"):
        raise click.BadParameter(f"{lr} is no learning rate", param_hint="--lr")
    read = read_config(config)
    reader = peer_of(read, peer)
    path = out or Path("imported.toml")
    usual = (
        None
        if model.startswith("timm:") or model.endswith(".safetensors")
        else getattr(reader, "CLASS", None)
    )
    names, table = _model(model, class_name or usual, prefix, path)
    done = translate(read, reader, names, table, path, meant=meant, lr=lr)
    if out is None:
        print_json(done.text)
    else:
        write_new(out, done.text)
        print_out(f"wrote {out}: {trained_line(done.plan)} train", settings)
    print_err(f"proved: all {len(done.plan.params)} tensors as {done.title} treats them", settings)
    report([*done.findings, *done.plan.diagnostics], settings)
    return CLEAN


def _model(model: str, class_name: str | None, prefix: str, path: Path) -> tuple:
    """Return the model's names, and what `[model]` holds in a spec at ``path``."""
    from freezeplan.cli.compiling import for_model
    from freezeplan.cli.init import model_table
    from freezeplan.importing.model_names import ModelNames
    from freezeplan.models.overriding import with_model
    from freezeplan.models.sources import inventory_for, resolve_source
    from freezeplan.spec.reading import load_spec

    table = {"class": class_name} if class_name else {}
    with for_model(model):
        spec = with_model(load_spec({"model": table}), model)
        inventory = inventory_for(spec)
        config = resolve_source(spec).config
    return ModelNames(inventory, prefix, config), {**model_table(spec, path.parent), **table}
