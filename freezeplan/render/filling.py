"""Fills templates: plain text out, a value that is missing is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined


def fill_template(
    name: str, filters: Mapping[str, Callable[..., Any]], folder: Traversable | None = None, **values: Any
) -> str:
    """Return a template filled with values; raises ``UndefinedError`` for one it lacks.

    ``folder`` holds the template; without it, it is one of this package. In one of HTML all values are escaped.
    """
    environment = Environment(
        loader=FunctionLoader(partial(_template, folder or files("freezeplan.render") / "templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=name.endswith(".html.j2"),  # the others are Markdown, TOML and SVG
    )
    environment.filters.update(filters)
    return environment.get_template(name).render(**values)


def _template(folder: Traversable, name: str) -> str:
    return (folder / name).read_text("utf-8")
