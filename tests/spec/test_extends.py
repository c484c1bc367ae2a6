"""Composition: what a spec takes from those it extends, and where each part then stands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeplan.diagnostics import DiagnosticError
from freezeplan.render.diagnostics import DiagnosticsView
from freezeplan.spec.extends import MAX_CHAIN, preset_names
from freezeplan.spec.merging import merge
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tree import flatten, from_mapping
from tests.render.drawing import drawn

BASE = """\
[model]
source = "weights"
config = { model_type = "bert", size = { hidden = 8, layers = 2 } }
[optimizer]
lr = 1e-3
no_decay = ["@bias"]
[[rule]]
name = "all"
match = "**"
state = "frozen"
[[rule]]
name = "top"
match = "@layers[-2:]"
state = "trainable"
lr_mult = 0.5
[[task]]
name = "topic"
data = { train = "topic.jsonl" }
"""
OWN = """\
extends = "../base/spec.toml"
[model.config.size]
layers = 4
[optimizer]
no_decay = []
weight_decay = 0.0
[[rule]]
match = "heads"
state = "trainable"
[[rule]]
name = "top"
match = "@layers[-4:]"
state = "trainable"
[[task]]
name = "sentiment"
data = { train = "sentiment.jsonl" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a base spec and one that extends it."""
    (tmp_path / "base").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "base" / "spec.toml").write_text(BASE, "utf-8")
    (tmp_path / "own" / "spec.toml").write_text(OWN, "utf-8")
    return tmp_path


def only(source: object):
    """Load what must be refused for one reason and return it."""
    with pytest.raises(DiagnosticError) as caught:
        load_spec(source)
    (item,) = caught.value.diagnostics
    return item


def test_tables_merge_rules_append_names_replace_and_arrays_replace(folder: Path) -> None:
    spec = load_spec(folder / "own" / "spec.toml")
    assert spec.extends is None
    assert spec.model.source == "weights"
    assert spec.model.config == {"model_type": "bert", "size": {"hidden": 8, "layers": 4}}
    assert (spec.optimizer.lr, spec.optimizer.weight_decay, spec.optimizer.no_decay) == (1e-3, 0.0, [])
    assert [rule.name for rule in spec.rule] == ["all", "top", None]
    assert (spec.rule[1].match, spec.rule[1].lr_mult) == (["@layers[-4:]"], None)
    assert [task.name for task in spec.task] == ["topic", "sentiment"]


def test_each_part_stands_in_the_file_it_came_from(folder: Path) -> None:
    where = load_spec(folder / "own" / "spec.toml").locations
    files = {
        ("model", "source"): ("base", 2),
        ("model", "config", "size", "hidden"): ("base", 3),
        ("model", "config", "size", "layers"): ("own", 3),
        ("optimizer", "lr"): ("base", 5),
        ("rule", 0, "match"): ("base", 9),
        ("rule", 1, "match"): ("own", 12),
        ("rule", 2, "match"): ("own", 8),
        ("task", 1, "name"): ("own", 15),
    }
    found = {path: (Path(where.value(path).file).parent.name, where.value(path).line) for path in files}
    assert found == files


def test_relative_paths_start_from_the_file_they_are_written_in(folder: Path) -> None:
    where = load_spec(folder / "own" / "spec.toml").locations
    assert where.directory_of(("task", 0, "data", "train")).resolve() == folder / "base"
    assert where.directory_of(("task", 1, "data", "train")).resolve() == folder / "own"


def test_problems_of_both_files_come_in_one_run(folder: Path) -> None:
    (folder / "base" / "spec.toml").write_text("[optimizer]\nlr = '1'\n", "utf-8")
    (folder / "own" / "spec.toml").write_text("extends = '../base/spec.toml'\n[trian]\n", "utf-8")
    with pytest.raises(DiagnosticError) as caught:
        load_spec(folder / "own" / "spec.toml")
    found = [(Path(item.span.file).parent.name, item.code) for item in caught.value.diagnostics]
    assert found == [("base", "FP103"), ("own", "FP101")]


def test_a_rule_may_override_one_of_the_base(folder: Path) -> None:
    own = 'extends = "../base/spec.toml"\n[[rule]]\nmatch = "a"\nstate = "frozen"\noverride = "top"\n'
    (folder / "own" / "spec.toml").write_text(own, "utf-8")
    assert load_spec(folder / "own" / "spec.toml").rule[2].override == ["top"]


def test_a_name_twice_in_one_file_stays_an_error(folder: Path) -> None:
    twice = '[[rule]]\nname = "top"\nmatch = "a"\nstate = "frozen"\n'
    (folder / "own" / "spec.toml").write_text(f'extends = "../base/spec.toml"\n{twice}{twice}', "utf-8")
    assert only(folder / "own" / "spec.toml").code == "FP109"


def test_a_chain_merges_from_its_far_end(tmp_path: Path) -> None:
    for index, text in enumerate(
        ["epochs = 1\nseed = 1\nbatch_size = 1", "epochs = 2\nseed = 2", "epochs = 3"]
    ):
        extends = f'extends = "{index - 1}.toml"\n' if index else ""
        (tmp_path / f"{index}.toml").write_text(f"{extends}[train]\n{text}\n", "utf-8")
    train = load_spec(tmp_path / "2.toml").train
    assert (train.epochs, train.seed, train.batch_size) == (3, 2, 1)


def test_the_longest_chain_is_read_and_one_more_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.toml").write_text("train.seed = 5\n", "utf-8")
    for index in range(1, MAX_CHAIN + 2):
        (tmp_path / f"{index}.toml").write_text(f'extends = "{index - 1}.toml"\n', "utf-8")
    assert load_spec(tmp_path / f"{MAX_CHAIN}.toml").train.seed == 5
    assert only(tmp_path / f"{MAX_CHAIN + 1}.toml").code == "FP123"


def test_a_ring_is_named_step_by_step(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n', "utf-8")
    (tmp_path / "b.toml").write_text('extends = "./c.toml"\n', "utf-8")
    (tmp_path / "c.toml").write_text('extends = "../' + tmp_path.name + '/b.toml"\n', "utf-8")
    item = only(tmp_path / "a.toml")
    assert item.code == "FP122"
    assert item.message.endswith("`b.toml` extends `c.toml` extends `b.toml`")
    assert Path(item.span.file).name == "c.toml"


def test_a_missing_base_names_its_neighbour(folder: Path) -> None:
    (folder / "own" / "spec.toml").write_text('extends = "../base/spek.toml"\n', "utf-8")
    item = only(folder / "own" / "spec.toml")
    assert (item.code, item.span.line, item.span.column) == ("FP120", 1, 11)
    assert "base/spec.toml" in item.help


@pytest.mark.parametrize("target", ["", ".", "a\\u0000b", "no/where.toml"])
def test_a_base_that_cannot_be_read_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "spec.toml").write_text(f'extends = "{target}"\n', "utf-8")
    assert only(tmp_path / "spec.toml").code == "FP120"


def test_a_broken_base_says_who_extends_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "base" / "spec.toml").write_text("a = \n", "utf-8")
    item = only(folder / "own" / "spec.toml")
    assert item.code == "FP005"
    assert Path(item.span.file).parent.name == "base"
    assert item.notes[-1].endswith("own/spec.toml:1:11")


SECRETS = {
    "no TOML": "KEY=s3cret\n",
    "a name twice": "s3cret = 1\ns3cret = 2\n",
    "no spec": "[model]\nsource = 5 # s3cret\n",
}


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("inside", ["nowhere", "repository", "working folder"])
def test_no_line_is_shown_of_a_file_outside_the_spec_s_tree(
    folder: Path, kind: str, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "own" / "spec.toml").write_text('extends = "../base/spec.toml"\n', "utf-8")
    (folder / "base" / "spec.toml").write_text(SECRETS[kind], "utf-8")
    if inside == "repository":
        (folder / ".git").mkdir()
    monkeypatch.chdir(folder if inside == "working folder" else folder / "own")
    item = only(Path("own/spec.toml") if inside == "working folder" else folder / "own" / "spec.toml")
    text = drawn(DiagnosticsView([item])) + json.dumps(item.as_record())
    assert ("s3cret" in text) is (inside != "nowhere")
    assert item.span is not None and "spec.toml" in item.span.file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no name here")
def test_a_pipe_or_a_device_is_refused_as_a_spec_and_as_a_base_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "own.toml").write_text('extends = "pipe.toml"\n', "utf-8")
    (tmp_path / "zero.toml").write_text('extends = "/dev/zero"\n', "utf-8")
    paths = [*(tmp_path / name for name in ("pipe.toml", "own.toml", "zero.toml")), Path("/dev/zero")]
    found = [only(path) for path in paths]
    assert [item.code for item in found] == ["FP002", "FP120", "FP120", "FP002"]
    kinds = ["pipe", "pipe", "device", "device"]
    assert [item.message.rpartition(": ")[2] for item in found] == [
        f"it is a {kind}, not a file" for kind in kinds
    ]


def test_extends_must_be_a_string() -> None:
    assert only({"extends": 5}).code == "FP103"


def test_presets_are_complete_specs() -> None:
    assert {"linear_probe", "top_layers"} <= set(preset_names())
    for name in preset_names():
        spec = load_spec({"extends": f"preset:{name}"})
        assert spec.rule[0].match == ["**"]
        assert spec.locations.value(("rule", 0, "match")).file == f"preset:{name}"


def test_an_unknown_preset_lists_those_there_are() -> None:
    item = only({"extends": "preset:linear_prob"})
    assert (item.code, item.where) == ("FP121", "extends")
    listed = ", ".join(f"`{name}`" for name in preset_names())
    assert item.help == f"did you mean `preset:linear_probe`? presets: {listed}"


def test_a_mapping_over_a_preset_has_no_place_of_its_own() -> None:
    item = only(
        {"extends": "preset:top_layers", "rule": [{"name": "more", "match": ["a", "a"], "state": "frozen"}]}
    )
    assert (item.code, item.span, item.where) == ("FP114", None, "rule[4].match[2]")


def test_a_loaded_spec_can_be_dumped_and_loaded_again(folder: Path) -> None:
    spec = load_spec(folder / "own" / "spec.toml")
    again = load_spec(spec.model_dump(by_alias=True))
    assert again.model_dump() == spec.model_dump()


ENTRIES = st.lists(
    st.fixed_dictionaries({"match": st.integers()}, optional={"name": st.sampled_from(["a", "b", "c"])}),
    max_size=5,
    unique_by=lambda entry: entry.get("name", id(entry)),
)
TABLES = st.dictionaries(
    st.sampled_from(["x", "y"]), st.integers() | st.dictionaries(st.sampled_from("pq"), st.integers())
)


def merged(base: dict, own: dict) -> dict:
    """Merge plain data."""
    return flatten(merge(from_mapping(base), from_mapping(own)))[0]


@settings(deadline=None)
@given(ENTRIES, ENTRIES)
def test_names_keep_their_rank_and_the_rest_is_appended_in_order(base: list, own: list) -> None:
    result = merged({"rule": base}, {"rule": own})["rule"]
    names = {entry["name"] for entry in base if "name" in entry}
    replaced = {entry["name"]: entry for entry in own if entry.get("name") in names}
    assert result[: len(base)] == [replaced.get(entry.get("name"), entry) for entry in base]
    assert result[len(base) :] == [entry for entry in own if entry.get("name") not in replaced]


@settings(deadline=None)
@given(TABLES, TABLES, TABLES)
def test_merging_tables_is_associative_with_the_empty_spec_as_its_unit(
    one: dict, two: dict, three: dict
) -> None:
    assert merged({}, one) == merged(one, {}) == one
    if all(type(one.get(key, two.get(key))) is type(two.get(key, one.get(key))) for key in {*one, *two}):
        assert merged(merged(one, two), three) == merged(one, merged(two, three))


@settings(deadline=None)
@given(TABLES, TABLES)
def test_what_is_written_later_stands(base: dict, own: dict) -> None:
    result = merged(base, own)
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            assert result[key] == base[key] | value
        else:
            assert result[key] == value
    assert result.keys() == base.keys() | own.keys()


def test_an_optimizer_from_elsewhere_takes_the_place_of_the_bases(tmp_path: Path) -> None:
    rule = '[[rule]]\nmatch = "**"\nstate = "trainable"\n'
    (tmp_path / "a.toml").write_text(
        '[optimizer]\nname = "sgd"\nlr = 0.1\noptions = { foreach = false }\n' + rule
    )
    (tmp_path / "b.toml").write_text('extends = "a.toml"\n[optimizer]\nclass = "lion_pytorch:Lion"\n')
    (tmp_path / "c.toml").write_text('extends = "b.toml"\n[optimizer]\nname = "adam"\n')
    second, third = (load_spec(tmp_path / f"{name}.toml").optimizer for name in "bc")
    assert (second.class_, second.lr, second.options) == ("lion_pytorch:Lion", 0.1, {})
    assert "name" not in second.model_fields_set
    assert (third.class_, third.name, third.lr) == (None, "adam", 0.1)
