"""The JSON Schema of a spec, for editors: completion, checks and the keys' meaning while one types."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from freezeplan.spec.tables import Spec

IDENTITY = "urn:freezeplan:spec:1"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
DESCRIPTION = "A fine-tuning spec: which parameters train, at which rates, on which tasks."


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a spec file.

    It allows what TOML can say: there is no null, and a key that has no value is left out. Checks
    between keys are not in it; ``load_spec`` makes them.

    >>> json_schema()["properties"]["version"]["const"]
    1
    """
    schema = _without_null(Spec.model_json_schema(by_alias=True))
    for table in ("OptimizerTable", "NamedOptimizer"):
        schema["$defs"][table]["properties"]["name"]["anyOf"] = _optimizers()
    head = {"$schema": DIALECT, "$id": IDENTITY, "title": "freezeplan spec"}
    return {**head, **schema, "description": DESCRIPTION}


def schema_text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _optimizers() -> list[dict[str, Any]]:
    """Return the names that `name` of an optimizer may have: in lower case, or as torch.optim spells them."""
    text = (files("freezeplan") / "plan" / "optimizers.json").read_text("utf-8")
    names = [row["name"] for row in json.loads(text)["optimizers"]]
    return [{"enum": [name.lower() for name in names]}, {"enum": names}]


def _without_null(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _without_null(value) for key, value in node.items() if not _is_noise(key, value)}
    choices = [choice for choice in kept.get("anyOf", ()) if choice != {"type": "null"}]
    if not choices:
        return kept
    if len(choices) == 1:
        return {**choices[0], **{key: value for key, value in kept.items() if key != "anyOf"}}
    return {**kept, "anyOf": choices}


def _is_noise(key: str, value: Any) -> bool:
    # A generated title repeats the key; a default of null or of a whole table says nothing to an editor.
    return (key == "title" and isinstance(value, str)) or (
        key == "default" and isinstance(value, (dict, type(None)))
    )
