"""Fills templates: plain text out, a value that is missing is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from freezeplan.render.visible import visible


def fill_template(
    name: str, filters: Mapping[str, Callable[..., Any]], folder: Traversable | None = None, **values: Any
) -> str:
    """Return a template filled with values; raises ``UndefinedError`` for one it lacks.

    ``folder`` holds the template; without it, it is one of this package. In one of HTML all values are escaped, and
    what moves, reorders or hides text is shown as a sign of its own.
    """
    html = name.endswith(".html.j2")
    environment = Environment(
        loader=FunctionLoader(partial(_template, folder or files("freezeplan.render") / "templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=html,  # the others are Markdown, TOML and SVG
        finalize=_seen if html else None,
    )
    environment.filters.update(filters)
    return environment.get_template(name).render(**values)


def _seen(value: Any) -> Any:
    """Return a value as a page shows it: text that is no markup of ours without controls."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _template(folder: Traversable, name: str) -> str:
    return (folder / name).read_text("utf-8")
