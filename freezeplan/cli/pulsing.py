"""How far a command is, said on standard error where nobody sees its answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from freezeplan.cli.streams import Settings, print_err

if TYPE_CHECKING:
    from freezeplan.train.pulse import Pulse


@contextmanager
def pulsing(settings: Settings, *, always: bool = False) -> Iterator[Pulse]:
    """Say what goes on at least every half minute where standard output is no terminal, or ``always``."""
    from freezeplan.train.pulse import Pulse

    pulse = Pulse(lambda line: print_err(line, settings))
    pulse.now = "loading the run"
    if (always or not sys.stdout.isatty()) and settings.diagnostics == "full":
        pulse.start()
    try:
        yield pulse
    finally:
        pulse.stop()
