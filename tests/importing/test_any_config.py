"""Whatever stands in a config, it is read, or refused with a code and a place; nothing else is raised."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.imports import inventory_of_model, tables
from freezeplan.diagnostics import DiagnosticError
from freezeplan.importing.config_file import ConfigFile, read_config
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers import PEERS
from freezeplan.spec.sources import SourceText

ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "a(",
        ".*",
        "*",
        "[",
        "1e-5",
        [],
        [1],
        [[]],
        [None],
        {},
        {"a": 1},
        [{}],
    ]
)


def paths(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the path of everything in plain data, the whole first."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in paths(item, (*path, key)))]


def changed(data: Any, path: tuple, value: Any) -> Any:
    """Return data with another value in one place."""
    if not path:
        return value if isinstance(value, dict) else data
    copied = copy.deepcopy(data)
    place = copied
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return copied


@pytest.fixture(scope="module")
def read_cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    """Return the data of all configs that are kept, by tool."""
    folder, found = tmp_path_factory.mktemp("configs"), {}
    for case in tables()["cases"]:
        path = folder / case["file"]
        path.write_text(case["text"], "utf-8")
        found.setdefault(case["peer"], []).append(read_config(path).data)
    found["timm"] = [
        {"opt": "adamw", "lr": 1e-3, "weight_decay": 0.1, "layer_decay": 0.7, "layer_decay_min_scale": 0.1}
    ]
    return found


@pytest.mark.parametrize("peer", PEERS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_odd_values_are_refused_in_order(peer: str, read_cases: dict, data: st.DataObject) -> None:
    config = data.draw(st.sampled_from(read_cases[peer]))
    for _ in range(data.draw(st.integers(1, 2))):
        config = changed(config, data.draw(st.sampled_from(paths(config))), data.draw(ODD))
    source = SourceText("c.yaml", "config", None)
    file = ConfigFile(source, config, {(): source.first})
    model = ModelNames(inventory_of_model(data.draw(st.sampled_from(["llama", "gpt2"]))))
    for meant in (False, True):
        try:
            PEERS[peer].recognises(file)
            reading = PEERS[peer].read(file, model, meant)
        except DiagnosticError as error:
            assert all(
                item.code in ("FP190", "FP193", "FP194") for item in error.diagnostics if item.is_error
            )
        else:
            assert all(set(phase.outcome) == set(model.tensors) for phase in reading.phases)


@settings(max_examples=100)
@given(
    text=st.text(st.sampled_from("ab:-[]{}'\"# \n\t&*!|>%@,\\0=()"), max_size=40),
    suffix=st.sampled_from(["yaml", "py", "sh"]),
)
def test_odd_texts_are_refused_in_order(
    text: str, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = Path(tmp_path_factory.getbasetemp(), f"odd.{suffix}")
    path.write_text(text, "utf-8")
    try:
        config = read_config(path)
    except DiagnosticError as error:
        assert [item.code for item in error.diagnostics] == ["FP190"] and error.diagnostics[
            0
        ].span is not None
    else:
        assert isinstance(config.data, dict)


def test_plain_data_reads_the_same_as_yaml_and_as_json(tmp_path: Path) -> None:
    data = {"a": [1, {"b": "c: d"}], "e": None, "f": 1.5}
    for name, text in (("c.yaml", yaml.safe_dump(data)), ("c.json", json.dumps(data, indent="\t"))):
        (tmp_path / name).write_text(text)
        assert read_config(tmp_path / name).data == data
