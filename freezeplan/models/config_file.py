"""Reads a model's config.json as it is: a table of settings, with the infinities that transformers writes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from freezeplan.diagnostics.wording import first_line
from freezeplan.outside.regular import read_regular
from freezeplan.spec.locations import KeyPath, error_at_key

CONFIG_FILE = "config.json"
ADVICE = "copy the file again from where the model came from"
MOST_BYTES = 1 << 26
MOST_DIGITS = 300
# transformers 5 writes what JSON has no word for as {"__float__": "Infinity"}.
TAG = "__float__"
SPECIAL = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def read_config(path: Path, name: str, at: KeyPath) -> dict[str, Any]:
    """Read a config.json; raises FP152 when it cannot be read or is not a JSON object in UTF-8."""
    config = read_json(path, name, at)
    if not isinstance(config, dict):
        message = f"`{name}` holds a {type(config).__name__}, not a table of settings"
        raise error_at_key(at, "FP152", message, help=ADVICE)
    return config


def read_json(path: Path, name: str, at: KeyPath) -> Any:
    """Read a JSON file of a model's folder; raises FP152 when it cannot be read or is no JSON in UTF-8."""
    try:
        data = read_regular(path, MOST_BYTES)
    except OSError as error:
        message, advice = (
            f"`{name}` cannot be read: {first_line(error)}",
            "check the file and its permissions",
        )
        raise error_at_key(at, "FP152", message, help=advice) from None
    try:
        return parsed(data)
    except (ValueError, RecursionError) as error:
        message = f"`{name}` is not readable JSON: {first_line(error)}"
        raise error_at_key(at, "FP152", message, help=ADVICE) from None


def parsed(data: bytes) -> Any:
    """Return the value of JSON bytes in UTF-8; ``{"__float__": "Infinity"}`` becomes that number.

    Raises ``ValueError``, for integers of more than 300 digits too.

    >>> parsed(b'{"limits": [0.0, {"__float__": "Infinity"}]}')
    {'limits': [0.0, inf]}
    """
    return json.loads(data.decode("utf-8-sig"), object_hook=_special, parse_int=_integer)


def _special(table: dict[str, Any]) -> Any:
    value = table.get(TAG)
    return SPECIAL.get(value, table) if len(table) == 1 and isinstance(value, str) else table


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)
