"""``--cost`` of ``freezeplan show``: its options, and the cost they ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from freezeplan.spec.amounts import parse_bytes

if TYPE_CHECKING:
    from freezeplan.cli.compiling import Compiled
    from freezeplan.cost.records import Cost, Fitting

Command = Callable[..., int]
SIZE = click.IntRange(min=1)
# To pretend to have so much company already takes many seconds.
PROCESSES = click.IntRange(min=1, max=1024)


def cost_options(command: Command) -> Command:
    """Add ``--cost``, ``--batch-size``, ``--length``, ``--fit`` and ``--processes``."""
    for option in (_PROCESSES, _FIT, _LENGTH, _BATCH_SIZE, _COST):
        command = option(command)
    return command


def cost_asked_for(
    work: Compiled, asked: bool, batch_size: int | None, length: int | None, processes: int | None
) -> Cost | None:
    """Return what a compiled spec costs, None where nobody asked; raises ``DiagnosticError``."""
    if not asked:
        return None
    from freezeplan.cost.estimating import estimate_cost

    return estimate_cost(work.spec, work.plan, batch_size, length, processes or 1)


def fitting_asked_for(
    work: Compiled, budget: int | None, length: int | None, processes: int | None
) -> Fitting | None:
    """Return which batches of a compiled spec fit into a budget, None where nobody asked."""
    if budget is None:
        return None
    from freezeplan.cost.fitting import fit_batches

    return fit_batches(work.spec, work.plan, budget, length, processes or 1)


def check_cost_asked(
    asked: bool, batch_size: int | None, length: int | None, budget: int | None, processes: int | None
) -> None:
    """Refuse sizes that nothing would read."""
    if processes and not asked and budget is None:
        raise click.UsageError("--processes is how many share the run in --cost or --fit: add one of them")
    if not asked and (batch_size or (length and budget is None)):
        raise click.UsageError("--batch-size and --length are the sizes for --cost: add it")


class _Amount(click.ParamType):
    """Read an amount of memory, such as ``16GiB``."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        try:
            return parse_bytes(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_COST = click.option("--cost", is_flag=True, help="Also what it costs: bytes, FLOPs and a store, per phase.")
_BATCH_SIZE = click.option("--batch-size", type=SIZE, metavar="N", help="Rows per batch, for --cost.")
_FIT = click.option(
    "--fit",
    type=_Amount(),
    metavar="SIZE",
    help="Also the largest batches that fit into SIZE, such as 16GiB.",
)
_PROCESSES = click.option(
    "--processes", type=PROCESSES, metavar="N", help="How many share the run, for --cost and --fit: of each."
)
_LENGTH = click.option("--length", type=SIZE, metavar="N", help="Tokens per text, for --cost and --fit.")
