"""Runs from a folder of sentence-transformers: its pooling and its length go with the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freezeplan.models.left_open import pooling_of
from freezeplan.models.resolve import resolve_source
from freezeplan.runs.events import StepDone
from freezeplan.spec.tables import Spec
from freezeplan.train.loaded import loaded_run
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from tests.models.sentence_folders import TRANSFORMER, write
from tests.train.phased import assert_same_tree
from tests.train.tiny import toy_spec

RULES = [{"name": "all", "match": "**", "state": "trainable"}]


@pytest.fixture
def place(toy: Path, tmp_path: Path) -> Path:
    """Return a folder with the toy data, and the toy BERT as a sentence encoder."""
    shutil.copytree(toy, tmp_path, dirs_exist_ok=True)
    modules = [
        {"path": "", "type": TRANSFORMER},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    write(tmp_path / "bert" / "modules.json", modules)
    write(tmp_path / "bert" / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    write(tmp_path / "bert" / "sentence_bert_config.json", {"max_seq_length": 5})
    return tmp_path


def spec_in(place: Path, **tables: Any) -> Spec:
    return toy_spec(place, model={"source": str(place / "bert")}, rule=RULES, **tables)


def record_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text("utf-8"))


def stop_after(steps: int) -> Callable[[Any], None]:
    left = iter(range(steps))

    def observer(event: Any) -> None:
        if isinstance(event, StepDone) and next(left) == steps - 1:
            raise KeyboardInterrupt

    return observer


def lose_the_pooling(place: Path) -> None:
    (place / "bert" / "modules.json").unlink()


@pytest.mark.parametrize(
    "change", [lambda place: None, lose_the_pooling, lambda place: shutil.rmtree(place / "bert")]
)
def test_a_run_goes_on_as_it_began_whatever_became_of_the_source(
    place: Path, change: Callable[[Path], None]
) -> None:
    spec = spec_in(place, train={"epochs": 2, "batch_size": 48})
    train(spec, place / "whole")
    train(spec, place / "run", stop_after(6))
    change(place)
    assert resume(place / "run").status == "finished"
    assert_same_tree(place / "run", place / "whole")
    record = record_of(place / "run")
    assert (record["pooling"], record["max_length"]) == ("cls", 5)


def test_a_run_answers_and_is_a_source_with_the_pooling_that_it_was_trained_with(place: Path) -> None:
    run = train(spec_in(place, train={"epochs": 1, "batch_size": 48}), place / "run").folder
    assert loaded_run(run).model.pooling == "cls"
    # The run's own spec stays as it was written.
    assert "pooling" not in (run / "spec.toml").read_text("utf-8")
    again = toy_spec(place, model={"source": str(run)}, rule=RULES)
    assert pooling_of(again, resolve_source(again)) == "cls"
    other = toy_spec(place, model={"source": str(run), "pooling": "max"}, rule=RULES)
    assert pooling_of(other, resolve_source(other)) == "max"


def test_a_run_that_no_plan_was_shown_of_gives_the_advice_itself(place: Path) -> None:
    write(place / "bert" / "1_Pooling" / "config.json", {"pooling_mode": "weightedmean"})
    result = train(spec_in(place, train={"epochs": 1, "batch_size": 48}), place / "run")
    assert "FP188" in [item.code for item in result.diagnostics]
    assert record_of(result.folder)["pooling"] == "mean"
