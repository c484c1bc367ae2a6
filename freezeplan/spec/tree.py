"""A spec's data with the place of every value, in the shape that merging needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.spec.lexical import MAX_DEPTH
from freezeplan.spec.locations import KeyPath, Place, dotted

WRITTEN_NOWHERE = Place(None, None)


@dataclass(frozen=True)
class SpecNode:
    """Hold one value: a dict of nodes, a list of nodes, or a plain value; and where it stands."""

    value: Any
    place: Place


def grow(value: Any, places: Mapping[KeyPath, Place], path: KeyPath = ()) -> SpecNode:
    """Build the tree of parsed TOML; paths without a place get an empty one."""
    place = places.get(path, WRITTEN_NOWHERE)
    if isinstance(value, dict):
        return SpecNode({key: grow(item, places, (*path, key)) for key, item in value.items()}, place)
    if isinstance(value, list):
        return SpecNode([grow(item, places, (*path, index)) for index, item in enumerate(value)], place)
    return SpecNode(value, place)


def from_mapping(value: Any, path: KeyPath = ()) -> SpecNode:
    """Build the tree of a Python mapping; tuples count as arrays and path objects as strings.

    Raises ``DiagnosticError`` (FP007) for nesting deeper than 64, which a mapping that holds itself has.
    """
    if len(path) > MAX_DEPTH:
        message = f"tables and arrays are nested deeper than {MAX_DEPTH}"
        raise DiagnosticError([diagnostic("FP007", message, where=dotted(path[:4]))])
    if isinstance(value, Mapping):
        value = {key: from_mapping(item, (*path, key)) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        value = [from_mapping(item, (*path, index)) for index, item in enumerate(value)]
    elif isinstance(value, PurePath):
        value = str(value)
    return SpecNode(value, WRITTEN_NOWHERE)


def flatten(root: SpecNode) -> tuple[dict[str, Any], dict[KeyPath, Place]]:
    """Return the plain data of a tree, and the place of each path in it."""
    places: dict[KeyPath, Place] = {}
    return _plain(root, (), places), places


def _plain(node: SpecNode, path: KeyPath, places: dict[KeyPath, Place]) -> Any:
    places[path] = node.place
    if isinstance(node.value, dict):
        return {key: _plain(item, (*path, key), places) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(item, (*path, index), places) for index, item in enumerate(node.value)]
    return node.value
