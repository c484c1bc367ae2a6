"""``--cost`` of ``freezeplan show``: its options, and the cost they ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from freezeplan.cli.compiling import Compiled
    from freezeplan.cost.records import Cost

Command = Callable[..., int]
SIZE = click.IntRange(min=1)


def cost_options(command: Command) -> Command:
    """Add ``--cost``, ``--batch-size`` and ``--length``."""
    for option in (_LENGTH, _BATCH_SIZE, _COST):
        command = option(command)
    return command


def cost_asked_for(work: Compiled, asked: bool, batch_size: int | None, length: int | None) -> Cost | None:
    """Return what a compiled spec costs, None where nobody asked; raises ``DiagnosticError``."""
    if not asked:
        return None
    from freezeplan.cost.estimating import estimate_cost

    return estimate_cost(work.spec, work.plan, batch_size, length)


def check_cost_asked(asked: bool, *sizes: int | None) -> None:
    """Refuse sizes that nothing would read."""
    if not asked and any(sizes):
        raise click.UsageError("--batch-size and --length are the sizes for --cost: add it")


_COST = click.option("--cost", is_flag=True, help="Also what it costs: bytes, FLOPs and a store, per phase.")
_BATCH_SIZE = click.option("--batch-size", type=SIZE, metavar="N", help="Rows per batch, for --cost.")
_LENGTH = click.option("--length", type=SIZE, metavar="N", help="Tokens per text, for --cost.")
