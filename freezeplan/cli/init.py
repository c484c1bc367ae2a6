"""``freezeplan init``: a commented spec for one model, compiled before it is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezeplan.cli.options import DEFAULT_SPEC, class_option, common_options, remote_code_option
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_out, report
from freezeplan.render.scenarios import SCENARIOS

if TYPE_CHECKING:
    from freezeplan.spec.tables import Spec

LABELS = ("negative", "positive")


@click.command(short_help="Write a commented spec for a model.")
@click.argument("model", metavar="MODEL")
@click.option("--scenario", type=click.Choice(SCENARIOS), required=True, help="What is to be frozen.")
@class_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DEFAULT_SPEC,
    metavar="FILE",
    help=f"Where to write it (default: {DEFAULT_SPEC}); an existing file is never replaced.",
)
@remote_code_option
@common_options
@click.pass_obj
def init(settings: Settings, model: str, scenario: str, class_name: str | None, out: Path) -> int:
    """Write a spec that puts MODEL into a SCENARIO: rules that fit its structure, with comments.

    MODEL is a hub name, a folder, package:NAME/SUBDIR, or a model type. Without --class the spec has one
    example task. Only what compiles is written.
    """
    from freezeplan.cli.compiling import compiled_spec
    from freezeplan.render.summary import trained_line
    from freezeplan.spec.reading import load_text

    if os.path.lexists(out):
        raise click.BadParameter(f"{out} exists, and is never replaced", param_hint="--out")
    text = _text(model, scenario, class_name, out)
    plan = compiled_spec(load_text(text, out)).plan
    write_new(out, text)
    print_out(f"wrote {out}: {trained_line(plan)} train", settings)
    report(plan.diagnostics, settings)
    return CLEAN


def _text(model: str, scenario: str, class_name: str | None, out: Path) -> str:
    from freezeplan.cli.compiling import for_model
    from freezeplan.models.overriding import with_model
    from freezeplan.models.sources import inventory_for
    from freezeplan.render.scaffold import scaffold
    from freezeplan.spec.reading import load_spec

    labels = () if class_name else LABELS
    tasks = [{"name": "example", "labels": list(labels)}] if labels else []
    table = {"class": class_name} if class_name else {}
    with for_model(model, "MODEL"):
        spec = with_model(load_spec({"model": table, "task": tasks}), model)
        inventory = inventory_for(spec)
    return scaffold(inventory, scenario, {**model_table(spec, out.parent), **table}, labels)


def model_table(spec: Spec, folder: Path) -> Mapping[str, str]:
    """Return the keys that name the model in a file of ``folder``, where relative paths then start."""
    source, architecture = spec.model.source, spec.model.architecture
    if architecture is not None:
        return {"architecture": _from(folder, architecture)}
    assert source is not None
    return {"source": _from(folder, source)}


def _from(folder: Path, text: str) -> str:
    if not os.path.exists(text) or os.path.isabs(text):
        return text
    path = Path(os.path.relpath(text, folder)).as_posix()
    return path if path.startswith(".") else f"./{path}"


def write_new(path: Path, text: str) -> None:
    """Write a new file as a whole or not at all: an empty one would never be replaced."""
    beside = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with beside.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _move_new(beside, path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise click.BadParameter(f"cannot write {path}: {reason}", param_hint="--out") from None
    finally:
        with suppress(OSError):
            beside.unlink()


def _move_new(source: Path, target: Path) -> None:
    """Give a file its name, which nothing may have by now."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # no links on this kind of disk
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "it exists, and is never replaced") from None
        os.rename(source, target)
