"""``freezeplan compare``: ways of freezing, tried under one budget, and which to choose."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freezeplan.cli.compiling import compiled
from freezeplan.cli.interrupts import stopped_status
from freezeplan.cli.options import NamedPath, common_options, format_option, remote_code_option, spec_argument
from freezeplan.cli.starting import begun
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, console_for, print_err, print_json, print_out
from freezeplan.cli.writing import check_target, write_whole

if TYPE_CHECKING:
    from freezeplan.choose.comparison_records import StrategyComparison
    from freezeplan.runs.events import Event
    from freezeplan.spec.tables import Spec

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h)")


@click.command(short_help="Try ways of freezing under one budget, and say which to choose.")
@spec_argument(required=False)
@click.argument("others", type=NamedPath(), nargs=-1, metavar="[SPEC...]")
@click.option("--strategies", metavar="NAMES", default="", help="Compare these alone, commas between them.")
@click.option(
    "--budget",
    "budgets",
    metavar="AMOUNT",
    multiple=True,
    help="A time (10min, 2h) for all training, or memory (2GiB) for a training step. Repeatable.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 20),
    default=1,
    help="Most seeds for candidates that are close (default: 1).",
)
@click.option(
    "--thorough",
    is_flag=True,
    help="Train all candidates, the better half of them on each time (default: trials of a quarter of the epochs).",
)
@click.option(
    "--out",
    type=NamedPath(),
    metavar="FOLDER",
    help="Where runs and results go (default: comparisons/NAME of the spec); a stopped one goes on from there.",
)
@click.option("--write", type=NamedPath(), metavar="FILE", help="Write the chosen spec to FILE.")
@format_option("table", "json")
@remote_code_option
@common_options
@click.pass_obj
def compare(
    settings: Settings,
    spec: Path,
    others: tuple[Path, ...],
    strategies: str,
    budgets: tuple[str, ...],
    seeds: int,
    thorough: bool,
    out: Path | None,
    write: Path | None,
    form: str,
) -> int:
    """Train SPEC (default: freezeplan.toml) in several ways of freezing, and say which to choose.

    Its rules are replaced by those of each candidate: everything frozen, the heads, the top 1, 2, 4 … layers, all of
    it, and others. A trial is a run of a quarter of the epochs; where one does better, those beside it are tried.
    Scores are of the validation data, with standard errors; the cheapest within one standard error of the best is
    chosen. Each trial is an ordinary run in FOLDER that `verify` checks. Several SPECs are compared as they are.
    """
    seconds, size = _limits(budgets)
    for path in (spec, *others) if write else ():
        check_target(write, "--write", spec=path)
    if others and (strategies or thorough):
        raise click.UsageError("several specs are compared as they are: no --strategies, no --thorough")
    work = compiled(spec)
    given = _given(spec, work.spec, others)
    settings.raise_if_interrupted()
    from freezeplan.choose.comparing import Limits
    from freezeplan.choose.comparing import compare as run_comparison
    from freezeplan.choose.comparison_view import ComparisonView
    from freezeplan.choose.given import compare_specs
    from freezeplan.choose.writing import chosen_text

    folder = out or Path("comparisons") / spec.stem
    names = [name.strip() for name in strategies.split(",") if name.strip()]
    limits = Limits(seconds, size, seeds)
    try:
        with _watching(settings) as (see, tell):
            if others:
                found = compare_specs(given, folder, limits, see, tell)
            else:
                found = run_comparison(work.spec, folder, names, limits, see, tell, thorough=thorough)
    except KeyboardInterrupt:
        print_err(f"stopped; the same command goes on from {folder}", settings)
        return stopped_status(settings)
    if write:
        write_whole(write, chosen_text(work.spec, found, folder, write), "--write")
    if form == "json":
        print_json((folder / "comparison.json").read_text("utf-8"))
    else:
        print_out(ComparisonView(found), settings)
    return CLEAN


@contextmanager
def _watching(
    settings: Settings,
) -> Iterator[tuple[Callable[[Event], None], Callable[[StrategyComparison], None]]]:
    """Show progress within the block; give what is told of events, and of what a comparison begins with."""
    from freezeplan.choose.comparison_view import predicted_line
    from freezeplan.train.progress import ProgressView

    with ProgressView(console_for(sys.stderr, settings)) as view:

        def see(event: Event) -> None:
            begun()
            view(event)

        yield see, lambda begun_with: print_err(predicted_line(begun_with), settings)


def _given(path: Path, spec: Spec, others: Sequence[Path]) -> dict[str, Spec]:
    """Return the specs that are compared by the names of their files."""
    found = {path.stem: spec}
    for other in others:
        if other.stem in found:
            raise click.BadParameter(f"two specs are called {other.stem}", param_hint="SPEC")
        found[other.stem] = compiled(other).spec
    return found


def _limits(budgets: tuple[str, ...]) -> tuple[float | None, int | None]:
    """Return the seconds and the bytes that the budgets name."""
    from freezeplan.spec.amounts import parse_bytes

    seconds: list[float] = []
    sizes: list[int] = []
    for text in budgets:
        found = TIME.fullmatch(text.strip())
        if found is not None:
            seconds.append(float(found[1]) * SECONDS[found[2]])
            continue
        try:
            sizes.append(parse_bytes(text))
        except ValueError:
            message = f"`{text}` is neither a time (10min) nor an amount of memory (2GiB)"
            raise click.BadParameter(message, param_hint="--budget") from None
    if len(seconds) > 1 or len(sizes) > 1:
        message = "give one time and one amount of memory at most"
        raise click.BadParameter(message, param_hint="--budget")
    return next(iter(seconds), None), next(iter(sizes), None)
