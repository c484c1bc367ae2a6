"""Values as a spec writes them, for tables and messages."""

from __future__ import annotations

from freezeplan.diagnostics.wording import format_number, format_rate
from freezeplan.plan.records import Options

MOST_DIGITS = 8


def short_rate(rate: float) -> str:
    """Write a rate in the few cells of a column; ``~`` says that it was rounded.

    >>> short_rate(2e-5), short_rate(1.24504934515026e-07)
    ('2e-05', '~1.25e-07')
    """
    exact = format_rate(rate)
    return exact if len(exact) <= MOST_DIGITS else f"~{rate:.2e}"


def format_options(options: Options) -> str:
    """Write optimizer options the way a spec does: ``betas = [0.9, 0.98], amsgrad = true``."""
    return ", ".join(f"{name} = {format_toml(value)}" for name, value in options)


def format_toml(value: object) -> str:
    """Write a value the way a spec does.

    >>> format_toml("frozen"), format_toml((0.9, 0.98)), format_toml({"rate": 0.5})
    ('"frozen"', '[0.9, 0.98]', '{ rate = 0.5 }')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(format_toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {format_toml(item)}" for key, item in value.items()) + " }"
    return format_number(value) if isinstance(value, (int, float)) else f'"{value}"'
