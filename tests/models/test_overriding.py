"""Another model in the place of a spec's: what a name on the command line is taken for, and what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezeplan.api import load_spec
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.overriding import close_type, model_types, with_model
from freezeplan.models.sources import inventory_for
from freezeplan.outside import hub

SPEC = {
    "model": {
        "source": "old",
        "revision": "v1",
        "trust_remote_code": True,
        "pooling": "cls",
        "dtype": "bfloat16",
    },
    "rule": [{"match": "**", "state": "trainable"}],
}


@pytest.fixture(autouse=True)
def empty_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "_cache_folder", lambda: tmp_path / "hub")


def test_the_types_read_from_files_are_those_that_transformers_knows() -> None:
    from transformers import CONFIG_MAPPING

    assert model_types() == set(CONFIG_MAPPING.keys())


@pytest.mark.parametrize(
    ("model", "source", "architecture"),
    [
        ("bert", "bert", "bert"),
        ("gpt2-medium", "gpt2-medium", None),
        ("owner/bert", "owner/bert", None),
        ("./bert", "./bert", None),
        ("package:a/b", "package:a/b", None),
        ("x.safetensors", "x.safetensors", None),
        ("some/config.json", None, "some/config.json"),
    ],
)
def test_what_a_name_is_taken_for(model: str, source: str | None, architecture: str | None) -> None:
    table = with_model(load_spec(SPEC), model).model
    assert (table.source, table.architecture, table.config) == (source, architecture, None)


def test_a_folder_and_a_model_in_the_hub_s_cache_come_before_a_type_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bert").mkdir()
    assert with_model(load_spec(SPEC), "bert", tmp_path).model.architecture is None
    monkeypatch.setattr(hub, "cached_config", lambda repo, revision: Path("config.json"))
    assert with_model(load_spec(SPEC), "bert").model.architecture is None


def test_what_was_said_of_the_old_model_alone_is_dropped() -> None:
    table = with_model(load_spec(SPEC), "bert").model
    assert (table.pooling, table.dtype) == ("cls", "bfloat16")
    assert (table.revision, table.trust_remote_code) == (None, False)


def test_a_type_stands_for_any_checkpoint_of_it() -> None:
    inventory = inventory_for(with_model(load_spec(SPEC), "distilbert"))
    assert len(inventory.tensors) == 100 and all(info.loaded for info in inventory.tensors)


def test_its_problems_point_at_no_line_of_the_spec(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text('[model]\nsource = "old"\n[[rule]]\nmatch = "**"\nstate = "frozen"\n')
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(with_model(load_spec(tmp_path / "spec.toml"), "./missing", tmp_path))
    (item,) = caught.value.diagnostics
    assert (item.code, item.span, item.where) == ("FP150", None, "model.source")


def test_a_misspelt_type_is_guessed() -> None:
    assert close_type("distilbart") == "did you mean the model type `distilbert`?"
    assert close_type("zzzzzz") is None
