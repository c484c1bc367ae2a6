"""Print which freezeplan this is."""

from __future__ import annotations

import click


def freezeplan_version() -> str:
    """Return the version of the installed package; ``unknown`` in a checkout that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("freezeplan")
    except PackageNotFoundError:
        return "unknown"


def _print(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(f"freezeplan {freezeplan_version()}")
        context.exit()


version_option = click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print, help="Print the version."
)
