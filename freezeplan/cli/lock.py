"""``freezeplan lock``: what a spec does to each tensor, in a file for review."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezeplan.cli.compiling import compiled
from freezeplan.cli.locking import lock_of, lock_path, read_lock_file
from freezeplan.cli.options import NamedPath, common_options, remote_code_option
from freezeplan.cli.status import CLEAN, FOUND
from freezeplan.cli.streams import Settings, print_err, print_out, report
from freezeplan.cli.writing import write_whole
from freezeplan.diagnostics import DiagnosticError

if TYPE_CHECKING:
    from freezeplan.cli.compiling import Compiled
    from freezeplan.plan.changes import Comparison


@click.command(short_help="Write the lock of a spec: one line per tensor, for review.")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", type=NamedPath())
@click.option(
    "--update", is_flag=True, help="Replace a lock that says something else, and show what changes."
)
@remote_code_option
@common_options
@click.pass_obj
def lock(settings: Settings, specs: tuple[Path, ...], update: bool) -> int:
    """Write the lock of each SPEC beside it: topic.lock for topic.toml.

    It has one line per tensor, sorted: what is done to it, at which rate, in which phase, by which rule.
    `check --locked` and `train --locked` fail when the plan is no longer the one in the lock. A lock of another
    plan is kept, and what would change is printed; --update prints it and writes the new one. No weights and no
    network are needed.
    """
    # Nothing is written unless every spec compiles.
    kept = False
    for spec, work in [(spec, compiled(spec)) for spec in specs]:
        settings.raise_if_interrupted()
        kept |= not _locked(spec, work, settings, update=update)
        report(work.plan.diagnostics, settings)
    return FOUND if kept else CLEAN


def _locked(spec: Path, work: Compiled, settings: Settings, *, update: bool) -> bool:
    """Write one lock; returns whether the one on disk is now that of the plan."""
    from freezeplan.render.summary import trained_line
    from freezeplan.render.visible import visible

    path = lock_path(spec)
    name = visible(str(path), keep="")
    text, before = lock_of(work, spec), path.read_bytes() if path.is_file() else None
    if before == text.encode():
        print_out(f"unchanged {name}", settings)
        return True
    changed = _changes(path, work) if before is not None else None
    if changed is not None:
        _say(name, changed, settings)
    if changed is not None and changed.count and not update:
        print_err(
            f"{name} is kept as it is: `freezeplan lock {visible(str(spec))} --update` replaces it", settings
        )
        return False
    write_whole(path, text, "SPEC")
    print_out(f"wrote {name}: {trained_line(work.plan)} train", settings)
    return True


def _changes(path: Path, work: Compiled) -> Comparison | None:
    """Return what a lock that is there already says otherwise; None where it says nothing."""
    from freezeplan.plan.changes import compare
    from freezeplan.plan.comparable import comparable
    from freezeplan.plan.document import to_record

    try:
        return compare(read_lock_file(path).record, comparable(to_record(work.plan)))
    except DiagnosticError:
        return None


def _say(name: str, changed: Comparison, settings: Settings) -> None:
    from freezeplan.diagnostics.wording import counted
    from freezeplan.render.changes import change_lines

    lines = change_lines(changed)
    of = f"{counted(len(lines), 'change')} of what the plan does"
    print_out(f"{name}: {of}{':' if lines else ''}", settings)
    for line in lines:
        print_out(f"  {line}", settings)
