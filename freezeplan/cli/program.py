"""The command line as a whole: its commands, and what becomes of every way a command can end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from freezeplan.cli.check import check
from freezeplan.cli.compare import compare
from freezeplan.cli.diff import diff
from freezeplan.cli.evaluate import evaluate
from freezeplan.cli.explain import explain
from freezeplan.cli.export import export
from freezeplan.cli.failing import failed
from freezeplan.cli.features import features
from freezeplan.cli.fmt import fmt
from freezeplan.cli.import_ import import_
from freezeplan.cli.init import init
from freezeplan.cli.interrupts import noting_interrupts, signal_name, stopped_status
from freezeplan.cli.lock import lock
from freezeplan.cli.options import common_options
from freezeplan.cli.params import params
from freezeplan.cli.predict import predict
from freezeplan.cli.probe import probe
from freezeplan.cli.ranks import is_first
from freezeplan.cli.report import report as report_command
from freezeplan.cli.schema import schema
from freezeplan.cli.show import show
from freezeplan.cli.starting import quick_start
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_err, set_streams_to_never_fail
from freezeplan.cli.train import train
from freezeplan.cli.verify import verify
from freezeplan.cli.version import version_option
from freezeplan.cli.why import why

EPILOG = """Exit status: 0 clean; 1 the spec has errors, or a check found something; 2 wrong usage, unreadable
input or an internal error; 130 stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP."""


class InOrder(click.Group):
    """List the commands in the order people meet them, not the alphabet's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names in the order they were added."""
        return list(self.commands)


@click.group(
    cls=InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@version_option
@common_options
def program() -> None:
    """Compile a fine-tuning spec into a plan you can read and check, and train exactly that plan."""


for _command in (
    show,
    why,
    check,
    lock,
    diff,
    fmt,
    init,
    import_,
    params,
    probe,
    compare,
    train,
    verify,
    evaluate,
    predict,
    features,
    export,
    report_command,
    explain,
    schema,
):
    program.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status."""
    with quick_start():
        status = run(arguments)
    sys.exit(status)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status and let no exception but ``SystemExit`` through."""
    settings = Settings()
    set_streams_to_never_fail()
    with noting_interrupts(settings):
        return _run(arguments, settings)


def _run(arguments: Sequence[str] | None, settings: Settings) -> int:
    try:
        status = program.main(arguments, "freezeplan", standalone_mode=False, obj=settings)
        return status if isinstance(status, int) else CLEAN
    except (KeyboardInterrupt, click.Abort):
        return _stopped(settings)
    except Exception as error:
        # Importing transformers turns a Ctrl-C into an import error of its own.
        return _stopped(settings) if settings.stopped_by else failed(error, settings)


def _stopped(settings: Settings) -> int:
    if is_first() and settings.diagnostics == "full":
        print_err(f"stopped by {signal_name(settings)}", settings)
    return stopped_status(settings)
