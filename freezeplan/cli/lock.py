"""``freezeplan lock``: what a spec does to each tensor, in a file for review."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezeplan.cli.compiling import compiled
from freezeplan.cli.locking import lock_of, lock_path, read_lock_file
from freezeplan.cli.options import common_options, remote_code_option
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_out, report
from freezeplan.cli.writing import write_whole
from freezeplan.diagnostics import DiagnosticError

if TYPE_CHECKING:
    from freezeplan.cli.compiling import Compiled
    from freezeplan.plan.changes import Comparison


@click.command(short_help="Write the lock of a spec: one line per tensor, for review.")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", type=click.Path(path_type=Path))
@remote_code_option
@common_options
@click.pass_obj
def lock(settings: Settings, specs: tuple[Path, ...]) -> int:
    """Write the lock of each SPEC beside it: topic.lock for topic.toml.

    It has one line per tensor, sorted: what is done to it, at which rate, in which phase, by which rule.
    `check --locked` and `train --locked` fail when the plan is no longer the one in the lock. What changed
    since the last lock is printed. No weights and no network are needed.
    """
    # Nothing is written unless every spec compiles.
    for spec, work in [(spec, compiled(spec)) for spec in specs]:
        settings.raise_if_interrupted()
        path = lock_path(spec)
        text, before = lock_of(work, spec), path.read_bytes() if path.is_file() else None
        changed = _changes(path, work) if before is not None else None
        if before != text.encode():
            write_whole(path, text, "SPEC")
        _say(path, work, settings, unchanged=before == text.encode(), changed=changed)
        report(work.plan.diagnostics, settings)
    return CLEAN


def _changes(path: Path, work: Compiled) -> Comparison | None:
    """Return what a lock that is there already says otherwise; None where it says nothing."""
    from freezeplan.plan.changes import compare
    from freezeplan.plan.comparable import comparable
    from freezeplan.plan.document import to_record

    try:
        return compare(read_lock_file(path).record, comparable(to_record(work.plan)))
    except DiagnosticError:
        return None


def _say(
    path: Path, work: Compiled, settings: Settings, *, unchanged: bool, changed: Comparison | None
) -> None:
    from freezeplan.diagnostics.wording import counted
    from freezeplan.render.changes import change_lines
    from freezeplan.render.summary import trained_line
    from freezeplan.render.visible import visible

    name = visible(str(path), keep="")
    if unchanged:
        print_out(f"unchanged {name}", settings)
        return
    print_out(f"wrote {name}: {trained_line(work.plan)} train", settings)
    if changed is not None:
        lines = change_lines(changed)
        print_out(f"{counted(len(lines), 'change')} of what the plan does{':' if lines else ''}", settings)
        for line in lines:
            print_out(f"  {line}", settings)
