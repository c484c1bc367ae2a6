"""``freezeplan init``: a commented spec for one model, compiled before it is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freezeplan.cli.options import DEFAULT_SPEC, NamedPath, class_option, common_options, remote_code_option
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_out, report
from freezeplan.render.scenarios import SCENARIOS

if TYPE_CHECKING:
    from freezeplan.inventory.records import Inventory
    from freezeplan.spec.tables import Spec

FILE = NamedPath()
COLUMNS = ("text", "label", "tokens", "tags")
LABELS = ("negative", "positive")


@click.command(short_help="Write a commented spec for a model, or for a file of rows.")
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("--scenario", type=click.Choice(SCENARIOS), help="What is to be frozen.")
@click.option("--from-data", "rows", type=FILE, metavar="FILE", help="Training rows: what to freeze follows.")
@click.option("--validation", type=FILE, metavar="FILE", help="Validation rows, with --from-data.")
@click.option("--text", metavar="COLUMN", help="Column of texts (default: text).")
@click.option("--label", metavar="COLUMN", help="Column of labels (default: label).")
@click.option(
    "--tokens", metavar="COLUMN", help="Column of lists of words, in place of --text (default: tokens)."
)
@click.option("--tags", metavar="COLUMN", help="Column of their tags (default: tags).")
@click.option("--from", "measured", type=FILE, metavar="FILE", help="What `probe` or `compare` wrote.")
@class_option
@click.option(
    "--out",
    type=NamedPath(),
    default=DEFAULT_SPEC,
    metavar="FILE",
    help=f"Where to write it (default: {DEFAULT_SPEC}); an existing file is never replaced.",
)
@remote_code_option
@common_options
@click.pass_obj
def init(
    settings: Settings,
    model: str | None,
    scenario: str | None,
    class_name: str | None,
    out: Path,
    measured: Path | None,
    **rows: Any,
) -> int:
    """Write a spec for MODEL with comments: for a SCENARIO, a file of rows, or from a measurement.

    MODEL is a hub name, a folder, package:NAME/SUBDIR, or a model type. A scenario gives rules that fit its structure;
    without --class the spec has one example task. With --from-data the task is that of the file, and what to freeze
    follows from its rows and labels, or from a probe of them (--from); a finished comparison (--from) gives the spec
    that it chose, and needs no MODEL. Each choice names its source. Only what compiles is written.
    """
    from freezeplan.cli.compiling import compiled_spec
    from freezeplan.render.summary import trained_line
    from freezeplan.spec.reading import load_text

    _check_asked(model, scenario, class_name, measured, rows)
    if os.path.lexists(out):
        raise click.BadParameter(f"{out} exists, and is never replaced", param_hint="--out")
    if scenario is not None and model is not None:
        text = _text(model, scenario, class_name, out)
    else:
        text = _found(model, rows, measured, out)
    plan = compiled_spec(load_text(text, out)).plan
    write_new(out, text)
    print_out(f"wrote {out}: {trained_line(plan)} train", settings)
    report(plan.diagnostics, settings)
    return CLEAN


def _check_asked(
    model: str | None,
    scenario: str | None,
    class_name: str | None,
    measured: Path | None,
    rows: Mapping[str, Any],
) -> None:
    """Refuse options that do not go together, and too few of them."""
    given = [scenario is not None, rows["rows"] is not None, measured is not None]
    if not any(given) or given[0] and any(given[1:]):
        raise click.UsageError(
            "give one of --scenario, --from-data and --from; --from-data takes --from, too"
        )
    if class_name and scenario is None:
        raise click.UsageError("--class goes with --scenario")
    _check_columns(rows)
    if model is None and (scenario is not None or rows["rows"] is not None):
        raise click.UsageError("missing argument MODEL")


def _check_columns(rows: Mapping[str, Any]) -> None:
    """Refuse options of a file of rows without one, and those of texts beside those of words."""
    given = [f"--{key}" for key in ("validation", *COLUMNS) if rows[key] is not None]
    if given and rows["rows"] is None:
        raise click.UsageError(f"{given[0]} goes with --from-data")
    texts, words = (
        [f"--{key}" for key in keys if rows[key] is not None] for keys in (COLUMNS[:2], COLUMNS[2:])
    )
    if texts and words:
        raise click.UsageError(
            f"{texts[0]} is of texts, {words[0]} of words with a tag each: give one of them"
        )


def _found(model: str | None, rows: Mapping[str, Any], measured: Path | None, out: Path) -> str:
    """Return a spec from a file of rows, what was measured, or both."""
    from freezeplan.choose.comparison_records import StrategyComparison
    from freezeplan.choose.measured_advice import read_measurement
    from freezeplan.choose.new_spec import spec_for_rows, spec_of_comparison
    from freezeplan.choose.rows_file import rows_file

    found = read_measurement(measured) if measured else None
    if isinstance(found, StrategyComparison):
        if rows["rows"] or model:
            raise click.UsageError(
                "a comparison names its own model and data: leave MODEL and --from-data out"
            )
        assert measured is not None
        return spec_of_comparison(found, measured, out.parent)
    if rows["rows"] is None or model is None:
        raise click.UsageError("a probe says where to cut, not of which rows: add MODEL and --from-data FILE")
    file = rows_file(rows["rows"], rows["validation"], {key: rows[key] for key in COLUMNS})
    spec, inventory = _inventory(model, None)
    return spec_for_rows(model_table(spec, out.parent), inventory, file, out.parent, found)


def _inventory(model: str, class_name: str | None) -> tuple[Spec, Inventory]:
    from freezeplan.cli.compiling import for_model
    from freezeplan.models.overriding import with_model
    from freezeplan.models.sources import inventory_for
    from freezeplan.spec.reading import load_spec

    tasks = [] if class_name else [{"name": "example", "labels": list(LABELS)}]
    table = {"class": class_name} if class_name else {}
    with for_model(model, "MODEL"):
        spec = with_model(load_spec({"model": table, "task": tasks}), model)
        return spec, inventory_for(spec)


def _text(model: str, scenario: str, class_name: str | None, out: Path) -> str:
    from freezeplan.render.scaffold import scaffold

    spec, inventory = _inventory(model, class_name)
    table = {"class": class_name} if class_name else {}
    labels = () if class_name else LABELS
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
