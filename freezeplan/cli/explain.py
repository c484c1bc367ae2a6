"""``freezeplan explain``: what a diagnostic code means."""

from __future__ import annotations

from os.path import commonprefix

import click

from freezeplan.cli.options import common_options
from freezeplan.cli.status import CLEAN
from freezeplan.cli.streams import Settings, print_out
from freezeplan.diagnostics import Entry, entries
from freezeplan.diagnostics.wording import nearest


@click.command(short_help="Explain a diagnostic code, or list them all.")
@click.argument("code", required=False)
@common_options
@click.pass_obj
def explain(settings: Settings, code: str | None) -> int:
    """Say what CODE (such as FP201) means, why it exists, and how to fix it; without CODE list all codes."""
    from freezeplan.render.explain import EntryList, EntryView

    print_out(EntryList(entries().values()) if code is None else EntryView(_entry(code)), settings)
    return CLEAN


def _entry(code: str) -> Entry:
    known = entries()
    wanted = code.strip().upper()
    if wanted in known:
        return known[wanted]
    raise click.UsageError(f"there is no diagnostic `{code}`: {_advice(wanted, list(known))}")


def _advice(wanted: str, known: list[str]) -> str:
    digits = wanted.removeprefix("FP")
    close = [own for own in known if digits.isdecimal() and own.startswith(f"FP{digits}")][:3]
    if not close and not digits.isdecimal():
        close = sorted(nearest(wanted, known, len(known)), key=lambda own: -len(commonprefix([own, wanted])))[
            :3
        ]
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"codes go from {known[0]} to {known[-1]}; `freezeplan explain` lists them all"
