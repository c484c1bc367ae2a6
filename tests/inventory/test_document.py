"""An inventory survives its document form: nothing is lost, and nothing foreign is taken for one."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.inventory import document
from freezeplan.inventory.document import ForeignDocument, from_record, to_record
from freezeplan.inventory.records import Doubt, Inventory, ModuleInfo, ParamInfo, Stack
from tests.strategies import inventories

TEXT = st.text(max_size=8)


def any_record(kind: type) -> st.SearchStrategy:
    """Return records with every field drawn by its type, so that a new field is drawn too."""
    return st.builds(kind, **{item.name: st.from_type(hint) for item, hint in _hints(kind)})


def _hints(kind: type) -> list:
    from typing import get_type_hints

    hints = get_type_hints(kind)
    return [(item, hints[item.name]) for item in fields(kind)]


@st.composite
def any_inventory(draw: st.DrawFn) -> Inventory:
    tables = {
        name: tuple(draw(st.lists(any_record(kind), max_size=2)))
        for name, kind in (
            ("params", ParamInfo),
            ("modules", ModuleInfo),
            ("stacks", Stack),
            ("doubts", Doubt),
        )
    }
    plain = {
        item.name: draw(st.from_type(hint)) for item, hint in _hints(Inventory) if item.name not in tables
    }
    return Inventory(**tables, **plain)


def through_json(inventory: Inventory) -> Inventory:
    return from_record(json.loads(json.dumps(to_record(inventory))))


@given(inventories())
def test_a_model_s_inventory_survives(inventory: Inventory) -> None:
    assert through_json(inventory) == inventory
    assert list(through_json(inventory).role_nodes) == list(inventory.role_nodes)


@given(any_inventory())
def test_any_value_of_any_field_survives(inventory: Inventory) -> None:
    assert through_json(inventory) == inventory


@given(inventories(), st.data())
def test_a_field_more_or_less_is_foreign(inventory: Inventory, data: st.DataObject) -> None:
    record = json.loads(json.dumps(to_record(inventory)))
    part = data.draw(st.sampled_from(["plain", *record["tables"]]))
    if part == "plain":
        name = data.draw(st.sampled_from([*record["plain"], "new"]))
        if record["plain"].pop(name, part) is part:
            record["plain"][name] = None
    else:
        names = record["tables"][part]["fields"]
        names.append("new") if data.draw(st.booleans()) else names.pop()
    with pytest.raises(ForeignDocument):
        from_record(record)


def test_another_schema_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    record = to_record(Inventory("m", (), ()))
    monkeypatch.setattr(document, "SCHEMA", document.SCHEMA + 1)
    with pytest.raises(ForeignDocument):
        from_record(record)


@pytest.mark.parametrize(
    "record", [None, [], "x", {}, {"schema": 1}, {"schema": 1, "plain": 3, "tables": []}]
)
def test_what_is_no_document_is_foreign(record: object) -> None:
    with pytest.raises(ForeignDocument):
        from_record(record)


def test_a_value_that_json_cannot_hold_is_refused_not_bent() -> None:
    inventory = replace(Inventory("m", (), ()), notes=(object(),))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        to_record(inventory)
