"""One voice for the processes of one run: the first one prints, and an error is printed by one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from freezeplan.cli.failing import failed
from freezeplan.cli.status import UNUSABLE, status_of
from freezeplan.cli.streams import Settings
from freezeplan.diagnostics import DiagnosticError

if TYPE_CHECKING:
    from torch.distributed import TCPStore

PATIENCE = timedelta(seconds=10)


def is_first() -> bool:
    """Whether this process is the one that prints: the first, as the launcher numbers them, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def one_voice(settings: Settings) -> Iterator[None]:
    """Let one of several processes that fail inside print why, and the others end after it with its status.

    An error that all meet is printed once. What the end of the first makes the others say is not printed.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield
        return
    try:
        yield
    except (click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        settings.raise_if_interrupted()
        status = status_of(error.diagnostics) if isinstance(error, DiagnosticError) else UNUSABLE
        with _turn() as speaks:
            if speaks:
                status = failed(error, settings)
        raise click.exceptions.Exit(status) from None


@contextmanager
def _turn() -> Iterator[bool]:
    """Say whether this process is the first to have something to say; the others wait until it is said."""
    store = _launchers_store()
    if store is None:
        yield is_first()
        return
    run = f"freezeplan/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    if store.add(f"{run}/speakers", 1) == 1:
        yield True
        store.set(f"{run}/said", "")
    else:
        # Ending at once would make the launcher end the one that is about to print.
        with suppress(RuntimeError):
            store.wait([f"{run}/said"], PATIENCE)
        yield False


def _launchers_store() -> TCPStore | None:
    """Return what torchrun keeps for its processes, which is there whatever becomes of them; None elsewhere."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    from torch.distributed import TCPStore

    try:
        port = int(os.environ["MASTER_PORT"])
        return TCPStore(os.environ["MASTER_ADDR"], port, is_master=False, timeout=PATIENCE)
    except (KeyError, ValueError, RuntimeError):
        return None
