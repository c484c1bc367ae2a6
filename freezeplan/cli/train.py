"""``freezeplan train``: show the plan, then train exactly that, or go on with a run that was stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from freezeplan.cli.comparing import check_given
from freezeplan.cli.compiling import Compiled, compiled, compiled_spec
from freezeplan.cli.interrupts import stopped_status
from freezeplan.cli.locking import check_locked
from freezeplan.cli.options import NamedPath, common_options, remote_code_option, spec_argument
from freezeplan.cli.ranks import is_first, one_voice
from freezeplan.cli.show import plan_view
from freezeplan.cli.starting import begun
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, console_for, print_out, report, report_below
from freezeplan.diagnostics import DiagnosticError

if TYPE_CHECKING:
    from freezeplan.runs.events import Event, Observer
    from freezeplan.train.run import RunResult

    Run = Callable[[Observer], RunResult]


@click.command(short_help="Train by a spec: the plan first, then the run.")
@spec_argument(required=False)
@click.option("--out", type=NamedPath(), metavar="DIR", help="Default: runs/NAME of the spec.")
@click.option(
    "--plan",
    "given",
    type=NamedPath(),
    metavar="FILE",
    help="Train exactly this plan, or stop: one that `show --out` wrote.",
)
@click.option("--locked", is_flag=True, help="Stop if the plan is not the one in the spec's lock.")
@click.option("--overwrite", is_flag=True, help="Replace an unfinished run in DIR.")
@click.option(
    "--resume",
    type=NamedPath(),
    metavar="DIR",
    help="Go on with the run in DIR, from its last checkpoint; SPEC is then the run's own.",
)
@click.option(
    "--allow",
    metavar="WHAT",
    default="",
    help="With --resume: what may differ: lr, epochs, or both (lr,epochs).",
)
@remote_code_option
@click.option("-v", "--verbose", is_flag=True, help="Print every group's learning rate after each epoch.")
@common_options
@click.pass_context
def train(
    context: click.Context,
    spec: Path,
    out: Path | None,
    given: Path | None,
    locked: bool,
    overwrite: bool,
    resume: Path | None,
    allow: str,
    verbose: bool,
) -> int:
    """Show the plan of SPEC (default: freezeplan.toml), then train exactly that into DIR.

    With --plan, SPEC must still give the plan in FILE, and so must the model once it is loaded: what was
    looked at is what runs. Tasks, data and [train] are those of SPEC. --locked does the same with the lock.

    The run ends with the evidence: frozen tensors are bit-identical, trainable ones moved. Ctrl-C
    (or SIGTERM, or SIGHUP) ends it after the current step, with a checkpoint that --resume goes on
    from, with the same result as without the stop; a second one ends it at once.
    """
    settings = context.obj
    settings.verbose = verbose
    _check_usage(out, overwrite, resume, allow, given is not None or locked)
    with one_voice(settings):
        from freezeplan.runs.claim import check_unclaimed

        place = resume or out or Path("runs") / spec.stem
        check_unclaimed(place)
        if resume is None:
            work = compiled(spec)
            if given is not None:
                check_given(given, work.plan)
            if locked and (found := check_locked(work, spec)):
                raise DiagnosticError(found)
            return _shown_and_run(work, _new_run(work, place, overwrite), settings)
        named = context.get_parameter_source("spec") is not ParameterSource.DEFAULT
        return _resumed(spec if named else None, resume, allow, settings)


def _check_usage(out: Path | None, overwrite: bool, resume: Path | None, allow: str, given: bool) -> None:
    if resume is not None and given:
        raise click.UsageError("--resume goes on with the plan of the run: leave --plan and --locked out")
    if resume is not None and (out is not None or overwrite):
        raise click.UsageError("--resume goes on in the folder it names: leave --out and --overwrite out")
    if allow and resume is None:
        raise click.UsageError("--allow says what may differ from a run: it goes with --resume")


def _new_run(work: Compiled, out: Path, overwrite: bool) -> Run:
    def run(observer: Observer) -> RunResult:
        from freezeplan.train.run import train as run_training

        return run_training(work.spec, out, observer, work.plan, overwrite)

    return run


def _resumed(spec: Path | None, folder: Path, allow: str, settings: Settings) -> int:
    from freezeplan.spec.reading import load_spec
    from freezeplan.train.resume import check_allowed, find_stop, resume

    names = [name.strip() for name in allow.split(",") if name.strip()]
    try:
        check_allowed(names)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--allow") from None
    stop = find_stop(folder)
    asked = load_spec(spec) if spec is not None else stop.spec
    work = compiled_spec(stop.own(asked))
    return _shown_and_run(work, lambda view: resume(folder, view, asked, work.plan, names), settings)


def _shown_and_run(work: Compiled, run: Run, settings: Settings) -> int:
    if not is_first():
        return _status(_run_silently(run, settings), settings)
    print_out(plan_view(work), settings)
    report_below(work.plan.diagnostics, settings)
    print_out("", settings)
    settings.raise_if_interrupted()
    from freezeplan.train.progress import ProgressView

    with ProgressView(console_for(sys.stdout, settings), rates=settings.verbose) as view:
        result = run(_awake(view))
    report(result.diagnostics, settings)
    return _status(result, settings)


def _run_silently(run: Run, settings: Settings) -> RunResult:
    settings.raise_if_interrupted()
    from freezeplan.runs.events import ignore_events

    return run(_awake(ignore_events))


def _awake(observer: Observer) -> Observer:
    """Return an observer that lets the process collect garbage from the first event on."""

    def see(event: Event) -> None:
        begun()
        observer(event)

    return see


def _status(result: RunResult, settings: Settings) -> int:
    return stopped_status(settings) if result.status == "interrupted" else CLEAN
