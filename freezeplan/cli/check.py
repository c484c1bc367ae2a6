"""``freezeplan check``: one verdict per spec, for continuous integration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezeplan.cli.compiling import compiled_spec, for_model
from freezeplan.cli.fixing import fix_slips
from freezeplan.cli.locking import check_locked
from freezeplan.cli.options import NamedPath, common_options, format_option, model_option, remote_code_option
from freezeplan.cli.status import CLEAN, FOUND, status_of
from freezeplan.cli.streams import Settings, print_err, print_json, print_out, report
from freezeplan.cli.version import freezeplan_version
from freezeplan.diagnostics import Diagnostic, DiagnosticError

if TYPE_CHECKING:
    from freezeplan.cli.compiling import Compiled
    from freezeplan.render.annotations import Finding
    from freezeplan.spec.tables import Spec
    from freezeplan.train.checking import DataRead, SplitRead

WORDS = {CLEAN: ("ok", "green"), FOUND: ("failed", "bold red")}
OTHER = ("unreadable", "bold red")


@dataclass(frozen=True)
class Verdict:
    """What checking one spec with one model gave; ``detail`` says how much of it trains, if it compiled.

    ``model`` is None for the spec's own model, and for a spec that cannot be read. ``data`` is what reading the
    data gave, where that was asked for and done.
    """

    spec: Path
    model: str | None
    status: int
    diagnostics: tuple[Diagnostic, ...]
    detail: str = ""
    data: DataRead | None = None


@click.command(short_help="Check specs: one line each, exit status for CI.")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", type=NamedPath())
@click.option("--strict", is_flag=True, help="Let warnings fail too.")
@click.option("--data", "with_data", is_flag=True, help="Also read the data, and check all that train would.")
@click.option("--fix", is_flag=True, help="First mend in the file what can mean one thing only, and say so.")
@click.option("--locked", is_flag=True, help="Also fail where the plan is not the one in the spec's lock.")
@model_option(multiple=True)
@format_option("full", "json", "github", "sarif")
@remote_code_option
@common_options
@click.pass_obj
def check(
    settings: Settings,
    specs: tuple[Path, ...],
    strict: bool,
    with_data: bool,
    fix: bool,
    locked: bool,
    models: tuple[str, ...],
    form: str,
) -> int:
    """Check every SPEC against its model, or against each --model, without weights or network.

    With --data, also read every row of the tasks' data: columns, labels, tokens against the model's
    embedding, images that open, texts that are cut. Of streamed rows the first ones are read.

    With --fix, slips that can mean one thing only are mended first: a key or a role that is one letter
    off, [rule] for [[rule]], layer.[0-11] for layer.{0..11}. What compiles is never changed.

    With --locked, the plan must be the one in the lock beside the spec (`freezeplan lock`).

    Exits with 0 when all are clean, 1 when one has errors (with --strict: or warnings), 2 when one
    cannot be read.
    """
    if locked and models:
        raise click.UsageError("a lock is of the spec's own model: leave --model or --locked out")
    if fix:
        fix_slips(specs, settings)
    verdicts = []
    asked = {"strict": strict, "with_data": with_data, "locked": locked}
    for verdict in (item for spec in specs for item in verdicts_of(spec, models or (None,), **asked)):
        settings.raise_if_interrupted()
        verdicts.append(verdict)
        if form in ("full", "github"):
            _print_verdict(verdict, settings, annotated=form == "github")
    if form == "json":
        print_json(json.dumps({"specs": [_record(item) for item in verdicts]}, indent=2))
    if form == "sarif":
        print_json(_sarif(verdicts))
    return max(item.status for item in verdicts)


def verdicts_of(
    path: Path, models: Sequence[str | None], *, strict: bool, with_data: bool = False, locked: bool = False
) -> Iterator[Verdict]:
    """Yield the verdict on a spec with each model; one alone when the spec itself is wrong."""
    from freezeplan.spec.reading import load_spec

    try:
        spec = load_spec(path)
    except DiagnosticError as error:
        yield Verdict(path, None, status_of(error.diagnostics, strict=strict), error.diagnostics)
        return
    for model in models:
        yield _verdict(path, spec, model, strict=strict, with_data=with_data, locked=locked)


def _verdict(
    path: Path, spec: Spec, model: str | None, *, strict: bool, with_data: bool, locked: bool
) -> Verdict:
    from freezeplan.render.summary import trained_line

    found: tuple[Diagnostic, ...] = ()
    try:
        work = compiled_spec(spec, model)
        found = work.plan.diagnostics + (check_locked(work, path) if locked else ())
        read = _data_of(work, model) if with_data and work.spec.task else None
    except DiagnosticError as error:
        found += error.diagnostics
        return Verdict(path, model, status_of(found, strict=strict), found)
    found += read.diagnostics if read else ()
    detail = "; ".join([f"{trained_line(work.plan)} train", *_data_lines(read)])
    return Verdict(path, model, status_of(found, strict=strict), found, detail, read)


def _data_of(work: Compiled, model: str | None) -> DataRead:
    from freezeplan.train.checking import check_data

    with for_model(model):
        return check_data(work.spec, work.plan)


def _data_lines(read: DataRead | None) -> list[str]:
    """Say of each task how many rows its splits have."""
    tasks = read.tasks.items() if read else ()
    return [
        f"{name}: {', '.join(_count(split, where) for where, split in splits.items())} rows"
        for name, splits in tasks
    ]


def _count(split: SplitRead, name: str) -> str:
    from freezeplan.diagnostics.wording import format_count

    count = format_count(split.rows)
    return f"the first {count} streamed {name}" if split.streamed else f"{count} {name}"


def _sarif(verdicts: Sequence[Verdict]) -> str:
    from freezeplan.render.annotations import sarif_record

    found = [finding for item in verdicts for finding in _findings(item)]
    return json.dumps(sarif_record(found, freezeplan_version()), indent=2)


def _findings(item: Verdict) -> list[Finding]:
    """Return a verdict's diagnostics as a review shows them, in file order and without floods."""
    from freezeplan.diagnostics import capped, in_file_order
    from freezeplan.render.annotations import Finding

    return [Finding(str(item.spec), found) for found in capped(in_file_order(item.diagnostics))]


def _print_verdict(item: Verdict, settings: Settings, *, annotated: bool = False) -> None:
    from rich.text import Text

    from freezeplan.render.diagnostics import summary_line
    from freezeplan.render.visible import visible

    word, style = WORDS.get(item.status, OTHER)
    head = (word.ljust(len(OTHER[0])), style)
    facts = [fact for fact in (item.detail, summary_line(item.diagnostics)) if fact]
    model = f" with {item.model}" if item.model else ""
    name = visible(f"{item.spec}{model}", keep="")
    print_out(Text.assemble(head, f"  {name}: {'; '.join(facts)}", overflow="fold"), settings)
    if annotated:
        from freezeplan.render.annotations import github_lines

        for line in github_lines(_findings(item)):
            print_json(line)
        return
    report(item.diagnostics, settings, summary=False)
    if item.diagnostics and settings.diagnostics == "full":
        print_err("", settings)


def _record(item: Verdict) -> dict[str, object]:
    from freezeplan.render.diagnostics import diagnostics_record

    word, _ = WORDS.get(item.status, OTHER)
    found = diagnostics_record(item.diagnostics)
    data = {"data": {name: _splits(read) for name, read in item.data.tasks.items()}} if item.data else {}
    return {"spec": item.spec.as_posix(), "model": item.model, "verdict": word, **data, **found}


def _splits(read: Mapping[str, SplitRead]) -> dict[str, dict[str, int]]:
    return {
        name: {"rows": split.rows, "cut": split.cut} | ({"streamed": True} if split.streamed else {})
        for name, split in read.items()
    }
