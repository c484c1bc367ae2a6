"""The ``freezeplan`` command: the only room that exits or opens standard streams."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]

STOPPED_BY_CTRL_C = 130


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status; a Ctrl-C while it is still being loaded ends it like any other."""
    try:
        from freezeplan.cli.program import main as run
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        sys.exit(STOPPED_BY_CTRL_C)
    run(arguments)
