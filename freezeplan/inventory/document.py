"""An inventory as a document: plain JSON types, and back without loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from freezeplan.inventory.records import Doubt, Inventory, ModuleInfo, ParamInfo, Stack

# Raised whenever the meaning of a field changes; a change of the fields themselves is noticed without it.
SCHEMA = 1
TABLES: dict[str, type] = {"params": ParamInfo, "modules": ModuleInfo, "stacks": Stack, "doubts": Doubt}


class ForeignDocument(ValueError):
    """Say that a document was not written from these records: by another version, or not by this program."""


def to_record(inventory: Inventory) -> dict[str, Any]:
    """Return the inventory as JSON types; each kind of record is a table with its fields named once.

    >>> to_record(Inventory("m", (), ()))["plain"]["label"]
    'm'
    """
    return {
        "schema": SCHEMA,
        "plain": {name: _plain(getattr(inventory, name)) for name in _plain_fields()},
        "tables": {name: _table(kind, getattr(inventory, name)) for name, kind in TABLES.items()},
    }


def from_record(record: Any) -> Inventory:
    """Return the inventory that :func:`to_record` made the record of.

    Raises :class:`ForeignDocument` for another schema, for fields that are missing or unknown, and for
    anything else that :func:`to_record` does not write.
    """
    try:
        if record["schema"] != SCHEMA or set(record["plain"]) != set(_plain_fields()):
            raise ForeignDocument("another schema")
        if record["tables"].keys() != TABLES.keys():
            raise ForeignDocument("other tables")
        rows = {name: _rows(kind, record["tables"][name]) for name, kind in TABLES.items()}
        return Inventory(**rows, **{name: _value(item) for name, item in record["plain"].items()})
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ForeignDocument(str(error)) from None


def _plain_fields() -> list[str]:
    return [item.name for item in fields(Inventory) if item.name not in TABLES]


def _names(kind: type) -> list[str]:
    return [item.name for item in fields(kind)]


def _table(kind: type, items: tuple[Any, ...]) -> dict[str, Any]:
    names = _names(kind)
    return {"fields": names, "rows": [[_plain(getattr(item, name)) for name in names] for item in items]}


def _rows(kind: type, table: Mapping[str, Any]) -> tuple[Any, ...]:
    if table["fields"] != _names(kind):
        raise ForeignDocument(f"other fields of {kind.__name__}")
    return tuple(kind(*map(_value, row)) for row in table["rows"])


def _plain(value: Any) -> Any:
    """Return JSON types; sets and maps are marked, so that a list is always a tuple."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, frozenset):
        return {"set": sorted(value)}
    if isinstance(value, dict):
        return {"map": [[key, _plain(item)] for key, item in value.items()]}
    raise TypeError(f"a record holds a {type(value).__name__}")


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_value, value))
    if not isinstance(value, dict):
        return value
    if "set" in value:
        return frozenset(value["set"])
    return {key: _value(item) for key, item in value["map"]}
