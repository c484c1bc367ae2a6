"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from freezeplan.cli.streams import Settings
from freezeplan.outside.given_path import NoPath, given_path

DEFAULT_SPEC = "freezeplan.toml"
Command = Callable[..., int]


class NamedPath(click.Path):
    """Take a path that is not empty: an empty one would stand for the folder that the command runs in."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(path_type=Path, **rules)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; fails where it is empty, or breaks the rules of ``click.Path``."""
        try:
            given_path(value)
        except NoPath as problem:
            self.fail(str(problem), param, ctx)
        # As it was given: click tells `-`, a stream, from a path.
        return super().convert(value, param, ctx)


def common_options(command: Command) -> Command:
    """Add ``--no-color`` and ``--diagnostics``; both end up in the :class:`Settings` of the run."""
    for option in (_DIAGNOSTICS, _NO_COLOR):
        command = option(command)
    return command


def spec_argument(*, required: bool) -> Callable[[Command], Command]:
    """Add the path of one spec; without one, an optional argument is ``freezeplan.toml``."""
    default = {} if required else {"default": DEFAULT_SPEC, "metavar": "[SPEC]"}
    return click.argument("spec", type=NamedPath(), **default)


def format_option(*forms: str) -> Callable[[Command], Command]:
    """Add ``--format`` with its choices, the first of them the default."""
    choice = click.Choice(forms)
    return click.option("--format", "form", type=choice, default=forms[0], help=f"Default: {forms[0]}.")


def model_option(*, multiple: bool = False) -> Callable[[Command], Command]:
    """Add ``--model``: another model in the place of the spec's, or several."""
    text = "Use this model instead: what [model] takes as source, or a model type."
    if multiple:
        return click.option("--model", "models", metavar="MODEL", multiple=True, help=f"{text} Repeatable.")
    return click.option("--model", metavar="MODEL", help=text)


def remote_code_option(command: Command) -> Command:
    """Add ``--no-remote-code``: no code that a model ships runs, whatever the spec says."""
    text = "Run no code that a model ships, even where the spec trusts it."
    return _shared("--no-remote-code", is_flag=True, callback=_forbid_remote_code, help=text)(command)


def class_option(command: Command) -> Command:
    """Add ``--class``: the class of transformers to build."""
    text = "Class of transformers, such as AutoModelForCausalLM (default: the base model)."
    return click.option("--class", "class_name", metavar="CLASS", help=text)(command)


def _set_no_color(context: click.Context, _: click.Parameter, value: bool) -> None:
    settings = context.ensure_object(Settings)
    settings.no_color = settings.no_color or value


def _set_diagnostics(context: click.Context, _: click.Parameter, value: str | None) -> None:
    settings = context.ensure_object(Settings)
    settings.diagnostics = value or settings.diagnostics


def _forbid_remote_code(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from freezeplan.spec.foreign_code import no_remote_code

        context.with_resource(no_remote_code())


def _shared(*names: str, callback: Callable[..., None], **rest: Any) -> Callable[[Command], Command]:
    return click.option(*names, expose_value=False, is_eager=True, callback=callback, **rest)


_NO_COLOR = _shared("--no-color", is_flag=True, callback=_set_no_color, help="Print without colours.")
_DIAGNOSTICS = _shared(
    "--diagnostics",
    type=click.Choice(["full", "json"]),
    callback=_set_diagnostics,
    help="How errors and warnings are written to standard error: full (default) or json.",
)
