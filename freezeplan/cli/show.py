"""``freezeplan show``: the plan of a spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freezeplan.cli.compiling import Compiled, compiled
from freezeplan.cli.costing import check_cost_asked, cost_asked_for, cost_options, fitting_asked_for
from freezeplan.cli.options import (
    NamedPath,
    common_options,
    format_option,
    model_option,
    remote_code_option,
    spec_argument,
)
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_json, print_out, report_below
from freezeplan.cli.writing import check_target, write_whole

if TYPE_CHECKING:
    from freezeplan.choose.measured_advice import MeasuredAdvice
    from freezeplan.cost.records import Cost, Fitting
    from freezeplan.plan.records import Plan
    from freezeplan.render.matrix import MatrixView
    from freezeplan.render.params import ParamsView
    from freezeplan.render.table import PlanView


@click.command(short_help="Show the plan that a spec compiles to.")
@spec_argument(required=False)
@format_option("table", "json")
@model_option()
@click.option("--phase", metavar="NAME", help="The full table of one phase, by its name or number.")
@click.option("--params", is_flag=True, help="One line per parameter instead of the table.")
@click.option("--groups", is_flag=True, help="One line per group of the optimizer, its rate in full.")
@cost_options
@click.option("--out", type=NamedPath(), metavar="FILE", help="Also write it to FILE as JSON.")
@click.option("--picture", type=NamedPath(), metavar="FILE", help="Also draw it in FILE as SVG.")
@click.option(
    "--from",
    "measured",
    type=NamedPath(),
    metavar="FILE",
    help="Also what a probe's or a comparison's FILE says of the plan.",
)
@click.option(
    "--rows", type=click.IntRange(1), metavar="N", help="What N training rows speak for, with sources."
)
@click.option("--labels", type=click.IntRange(1), metavar="N", help="Their labels, with --rows.")
@click.option(
    "--budget", metavar="AMOUNT", help="Memory (2GiB) that a training step may take: whether it fits."
)
@remote_code_option
@common_options
@click.pass_obj
def show(
    settings: Settings,
    spec: Path,
    form: str,
    model: str | None,
    phase: str | None,
    params: bool,
    groups: bool,
    cost: bool,
    batch_size: int | None,
    length: int | None,
    fit: int | None,
    processes: int | None,
    out: Path | None,
    picture: Path | None,
    measured: Path | None,
    rows: int | None,
    labels: int | None,
    budget: str | None,
) -> int:
    """Show the plan that SPEC (default: freezeplan.toml) compiles to, for its model or another one.

    A run in phases is shown as a matrix, groups x phases; --phase shows one of them in full. Groups that
    differ in weight decay alone share a line, as "0.01 / 0"; --groups shows each.
    No weights and no network are needed. The plan goes to standard output, warnings to standard error.
    """
    _check_forms(form, {"--phase": phase, "--params": params, "--groups": groups})
    check_cost_asked(cost, batch_size, length, fit, processes)
    for option, target in (("--out", out), ("--picture", picture)):
        if target:
            check_target(target, option, spec=spec)
    work = compiled(spec, model)
    plan, price = work.plan, cost_asked_for(work, cost, batch_size, length, processes)
    fitting = fitting_asked_for(work, fit, length, processes)
    told = [*_measured(measured, plan), *_from_facts(work, price, rows, labels, budget, processes)]
    if out:
        write_whole(out, _json(work, price, fitting, told))
    if picture:
        write_whole(picture, _svg(plan), "--picture")
    if form == "json":
        print_json(_json(work, price, fitting, told))
    else:
        print_out(_view(work, phase, params=params, groups=groups), settings)
        _print_cost(price, fitting, settings)
        _print_measured(told, settings)
    report_below(plan.diagnostics, settings)
    return CLEAN


def _check_forms(form: str, asked: Mapping[str, object]) -> None:
    """Refuse forms of the table where there is none, or two of them."""
    forms = [option for option, value in asked.items() if value]
    if form == "json" and forms:
        raise click.UsageError(f"{forms[0]} is a form of the table; --format json holds everything anyway")
    if {"--params", "--groups"} <= set(forms):
        raise click.UsageError("--params and --groups are two forms of the table: choose one")


def _json(
    work: Compiled, cost: Cost | None, fitting: Fitting | None, measured: Sequence[MeasuredAdvice]
) -> str:
    from freezeplan.plan.document import as_json, to_record

    more: dict[str, Any] = {"cost": cost.to_record()} if cost else {}
    more |= {"fit": fitting.to_record()} if fitting else {}
    more |= {"measured": [asdict(item) for item in measured]} if measured else {}
    return as_json(to_record(work.plan) | work.training | more)


def _measured(path: Path | None, plan: Plan) -> Sequence[MeasuredAdvice]:
    """Return what the file of a probe or a comparison says of the plan; nothing without one."""
    if path is None:
        return ()
    from freezeplan.choose.measured_advice import advice_from

    return advice_from(path, plan)


def _from_facts(
    work: Compiled,
    price: Cost | None,
    rows: int | None,
    labels: int | None,
    budget: str | None,
    processes: int | None,
) -> Sequence[MeasuredAdvice]:
    """Return what rows, labels and memory alone say of the plan; ``price`` is its cost where that is known."""
    if labels is not None and rows is None:
        raise click.UsageError("--labels goes with --rows")
    if rows is None and budget is None:
        return ()
    from freezeplan.choose.from_facts import DataFacts, facts_advice

    limit = _bytes(budget) if budget is not None else None
    peak = None
    if limit is not None:
        known = price or cost_asked_for(work, True, None, None, processes)
        peak = max(phase.memory.highest for phase in known.phases) if known else None
    return facts_advice(DataFacts(rows, labels), limit, peak)


def _bytes(budget: str) -> int:
    from freezeplan.spec.amounts import parse_bytes

    try:
        return parse_bytes(budget)
    except ValueError:
        message = f"`{budget}` is no amount of memory (2GiB); `compare --budget 10min` keeps to a time"
        raise click.BadParameter(message, param_hint="--budget") from None


def _print_measured(items: Sequence[MeasuredAdvice], settings: Settings) -> None:
    from rich.text import Text

    from freezeplan.render.visible import visible

    for item in items:
        line = visible(f"advice: {item.text} ({item.source})", keep="")
        print_out(Text(f"\n{line}", overflow="fold"), settings)


def _print_cost(cost: Cost | None, fitting: Fitting | None, settings: Settings) -> None:
    from freezeplan.render.cost import CostView
    from freezeplan.render.fitting import FittingView

    if cost is not None:
        print_out(CostView(cost), settings)
    if fitting is not None:
        print_out(FittingView(fitting), settings)


def _svg(plan: Plan) -> str:
    from freezeplan.render.timeline import timeline_svg

    return timeline_svg(plan)


def _view(
    work: Compiled, phase: str | None, *, params: bool, groups: bool
) -> ParamsView | PlanView | MatrixView:
    from freezeplan.plan.why import phase_position
    from freezeplan.render.params import ParamsView
    from freezeplan.render.table import PlanView

    index = phase_position([item.name for item in work.plan.phases], phase)
    if params:
        return ParamsView(work.plan, index)
    if phase is None:
        return plan_view(work, folded=not groups)
    more = {"training": work.training, "folded": not groups}
    return PlanView(work.plan, work.inventory.notes, index, work.execution, **more)


def plan_view(work: Compiled, *, folded: bool = True) -> PlanView | MatrixView:
    """Return a plan as it is shown unless something else is asked for: one in phases as a matrix."""
    from freezeplan.render.matrix import MatrixView
    from freezeplan.render.table import PlanView

    view = MatrixView if len(work.plan.phases) > 1 else PlanView
    return view(
        work.plan, work.inventory.notes, execution=work.execution, training=work.training, folded=folded
    )
