"""The tables of the language reference, read off the spec's JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

LIMITS = {"exclusiveMinimum": "> {}", "minimum": ">= {}", "exclusiveMaximum": "< {}", "maximum": "<= {}"}
WORDS = {"object": "table"}


@dataclass(frozen=True)
class Key:
    """One key of a table: ``kind`` is its type in words, ``default`` a TOML value (empty: none)."""

    name: str
    kind: str
    default: str
    required: bool
    description: str


@dataclass(frozen=True)
class KeyTable:
    """One table of the language, such as ``[optimizer]`` or ``[[rule]]``."""

    title: str
    description: str
    keys: tuple[Key, ...]


def key_tables(schema: Schema) -> tuple[KeyTable, ...]:
    """Return the tables of a JSON Schema in its own order, nested tables after the one that holds them.

    A table that stands in several places (the rules of the base and of a phase) is listed at its first.
    Keys that ``[optimizer]`` and ``[[rule]]`` share letter by letter stand in a table of their own.
    """
    top = {**schema, "description": "Keys outside all tables, at the start of the file."}
    tables = tuple(_tables(schema, top, "", "top level", {}))
    return _with_shared(tables)


def _tables(
    schema: Schema, node: Schema, path: str, title: str, places: dict[int, str]
) -> Iterator[KeyTable]:
    required = set(node.get("required", ()))
    keys, inner = [], []
    for name, raw in node.get("properties", {}).items():
        target, many = _target(schema, raw)
        if target is None:
            keys.append(_key(schema, name, raw, name in required))
        else:
            inside = f"{path}.{name}" if path else name
            inner.append((target, inside, f"[[{inside}]]" if many else f"[{inside}]"))
    named = _resolve(schema, node.get("additionalProperties") or {})
    if "properties" in named:
        inner.append((named, f"{path}.NAME", f"[{path}.NAME]"))
    yield KeyTable(title, _one_line(node.get("description", "")), tuple(keys))
    for target, inside, heading in inner:
        first = places.setdefault(id(target), heading)
        if first == heading:
            yield from _tables(schema, target, inside, heading, places)
        else:
            yield KeyTable(heading, f"The keys of `{first}`.", ())


def _target(schema: Schema, raw: Schema) -> tuple[Schema | None, bool]:
    """Return the table that a property holds (and whether it holds many), or None for a plain value."""
    many = raw.get("type") == "array"
    for option in [raw.get("items", {})] if many else _options(raw):
        found = _resolve(schema, option)
        if "properties" in found:
            return found, many
    return None, False


def _options(raw: Schema) -> list[Schema]:
    return [option for option in raw.get("anyOf", raw.get("allOf", [raw])) if option.get("type") != "null"]


def _resolve(schema: Schema, raw: Schema) -> Schema:
    reference = raw.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[-1]] if reference else raw


def _key(schema: Schema, name: str, raw: Schema, required: bool) -> Key:
    kinds = dict.fromkeys(_kind(_resolve(schema, option)) for option in _options(raw))
    default = "" if raw.get("default") is None else json.dumps(raw["default"])
    return Key(name, " or ".join(kinds), default, required, _one_line(raw.get("description", "")))


def _kind(raw: Schema) -> str:
    if "const" in raw or "enum" in raw:
        return " or ".join(f"`{json.dumps(value)}`" for value in raw.get("enum", [raw.get("const")]))
    if raw.get("type") == "array":
        item, *limits = _kind(raw.get("items", {})).split(", ")
        return ", ".join([f"list of {item}s", *(f"each {limit}" for limit in limits)])
    word = WORDS.get(raw.get("type", "value"), raw.get("type", "value"))
    limits = [text.format(raw[limit]) for limit, text in LIMITS.items() if limit in raw]
    return ", ".join([word, *limits])


def _with_shared(tables: tuple[KeyTable, ...]) -> tuple[KeyTable, ...]:
    by_title = {table.title: set(table.keys) for table in tables}
    shared = by_title.get("[optimizer]", set()) & by_title.get("[[rule]]", set())
    if not shared:
        return tables
    kept = tuple(
        KeyTable(table.title, table.description, tuple(key for key in table.keys if key not in shared))
        for table in tables
    )
    optimizer = next(table for table in tables if table.title == "[optimizer]")
    hoisted = tuple(key for key in optimizer.keys if key in shared)
    return (*kept, KeyTable("optimizer options", "Keys of both `[optimizer]` and `[[rule]]`.", hoisted))


def _one_line(text: str) -> str:
    return " ".join(text.split())
