"""The JSON Schema is the generated one, is a valid schema, and agrees with the shipped specs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from freezeplan.spec.fields import fields_of
from freezeplan.spec.schema import json_schema, schema_text
from freezeplan.spec.tables import Rule, Spec

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).parents[2]
FILE = ROOT / "specs" / "freezeplan.schema.json"
SHIPPED = sorted([*(ROOT / "specs").glob("*.toml"), *(ROOT / "freezeplan" / "presets").glob("*.toml")])
BY_TYPE = (
    "fp101_key",
    "fp101_tables",
    "fp102_no_match",
    "fp103_types",
    "fp105_choices",
    "fp110_zero_rate",
    "fp125_version",
)


@pytest.fixture(scope="module")
def validator():
    """Return a validator of the schema that is shipped."""
    return jsonschema.Draft202012Validator(json.loads(FILE.read_text("utf-8")))


def test_the_file_is_what_is_generated() -> None:
    assert FILE.read_text("utf-8") == schema_text()


def test_it_is_a_schema_of_its_dialect() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_specs_agree_with_it(path: Path, validator) -> None:
    assert [error.message for error in validator.iter_errors(tomllib.loads(path.read_text("utf-8")))] == []


@pytest.mark.parametrize(
    "path", [path for path in SHIPPED if path.parent == FILE.parent], ids=lambda path: path.stem
)
def test_shipped_specs_name_it_in_their_first_line(path: Path) -> None:
    assert path.read_text("utf-8").startswith("#:schema freezeplan.schema.json\n")


def test_it_has_a_name_and_says_what_every_key_is() -> None:
    schema = json_schema()
    assert schema["$id"] == "urn:freezeplan:spec:1"
    for table in (schema, *schema["$defs"].values()):
        assert [key for key, value in table["properties"].items() if not value.get("description")] == []


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"optimizer": {"name": "adamw"}}, True),
        ({"optimizer": {"name": "AdamW"}}, True),
        ({"optimizer": {"name": "adamv"}}, False),
        ({"optimizer": {"top": {"match": "a", "name": "muon"}}}, True),
        ({"optimizer": {"top": {"match": "a", "name": "moun"}}}, False),
        ({"train": {"keep_best": "topic/accuracy"}}, True),
        ({"train": {"keep_best": "topic/acuracy"}}, False),
        ({"train": {"keep_best": "accuracy"}}, False),
    ],
)
def test_it_knows_names_of_optimizers_and_metrics(spec: dict, allowed: bool, validator) -> None:
    assert validator.is_valid(spec) is allowed


@pytest.mark.parametrize("name", BY_TYPE)
def test_it_refuses_what_the_types_refuse(name: str, validator) -> None:
    text = (ROOT / "tests" / "specs" / "invalid" / f"{name}.toml").read_text("utf-8")
    assert not validator.is_valid(tomllib.loads(text))


def test_it_knows_the_keys_as_they_are_written_and_says_what_they_mean() -> None:
    schema = json_schema()
    properties = schema["$defs"]["Rule"]["properties"]
    assert set(properties) == set(fields_of(Rule))
    assert {"except", "match"} < set(properties)
    assert all("description" in item for item in properties.values())
    assert set(schema["properties"]) == set(fields_of(Spec))


@pytest.mark.parametrize("match", ["a", ["a", "b"]])
def test_patterns_are_one_string_or_several(match: object, validator) -> None:
    assert validator.is_valid({"rule": [{"match": match}]})
    assert not validator.is_valid({"rule": [{"match": []}]})


def test_it_offers_no_null() -> None:
    assert "null" not in schema_text()
