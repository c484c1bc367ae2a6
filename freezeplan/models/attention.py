"""Which attention a config asks for: transformers reads that from a config.json, and never writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEYS = ("attn_implementation", "_attn_implementation", "experts_implementation")


def asked_attention(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a config that chooses an implementation, those of the configs in it included.

    >>> asked_attention({"attn_implementation": "eager", "text_config": {"hidden_size": 4}})
    {'attn_implementation': 'eager'}
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name in KEYS and value is not None:
            found[name] = value
        elif isinstance(value, Mapping) and (inner := asked_attention(value)):
            found[name] = inner
    return found


def save_config(config: Any, asked: Mapping[str, Any], folder: Path) -> None:
    """Write a config of transformers into a folder, with the implementations that were asked for."""
    config.save_pretrained(folder)
    if asked:
        path = folder / "config.json"
        whole = _merged(json.loads(path.read_text("utf-8")), asked)
        path.write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n", "utf-8")


def _merged(whole: dict[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in part.items():
        inner = whole.get(name)
        both = isinstance(inner, dict) and isinstance(value, Mapping)
        whole[name] = _merged(inner, value) if both else value
    return whole
