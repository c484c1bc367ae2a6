"""Fills the package's templates: plain text out, a value that is missing is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined


def fill_template(name: str, filters: Mapping[str, Callable[..., Any]], **values: Any) -> str:
    """Return a template of this package filled with values; raises ``UndefinedError`` for one it lacks."""
    environment = Environment(
        loader=FunctionLoader(_template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown and TOML, not HTML
    )
    environment.filters.update(filters)
    return environment.get_template(name).render(**values)


def _template(name: str) -> str:
    return (files("freezeplan.render") / "templates" / name).read_text("utf-8")
