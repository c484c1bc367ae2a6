"""Language models are scored by `evaluate` as at the end of their run, and give features of texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyarrow import parquet

import freezeplan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.run_files import SCORES
from freezeplan.train.examining import AskedRows, evaluate_run
from freezeplan.train.extracting import FeatureFile, extract
from freezeplan.train.run import train
from tests.train.language import (
    MESSAGES,
    PROMPT,
    TEXT,
    TURNS,
    language_spec,
    save_language_model,
    write_language_data,
)
from tests.train.tiny import write_jsonl

FORMS = {"text": TEXT, "prompt": PROMPT, "messages": MESSAGES}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a finished run over rows of each form."""
    folder = write_language_data(tmp_path_factory.mktemp("language"))
    model = save_language_model(folder / "llama", "llama", TURNS)
    return {
        name: train(language_spec(folder, model, columns, train={"epochs": 1}), folder / f"run-{name}").folder
        for name, columns in FORMS.items()
    }


@pytest.mark.parametrize("form", FORMS)
def test_they_score_as_at_the_end_of_the_run(runs: dict[str, Path], form: str) -> None:
    kept = json.loads((runs[form] / SCORES).read_text("utf-8"))["validation"]
    found = evaluate_run(runs[form], AskedRows("validation")).tasks
    assert {task: item["metrics"] for task, item in found.items()} == {
        task: pytest.approx(item["metrics"], rel=1e-5) for task, item in kept.items()
    }


def test_texts_have_features_and_prompts_have_none(runs: dict[str, Path], tmp_path: Path) -> None:
    done = extract(runs["text"], tmp_path / "a.parquet")
    assert parquet.read_table(tmp_path / "a.parquet").num_rows == done.rows > 0
    with pytest.raises(DiagnosticError) as caught:
        extract(runs["prompt"], tmp_path / "b.parquet")
    assert [item.code for item in caught.value.diagnostics] == ["FP578"]
    write_jsonl(tmp_path / "new.jsonl", [{"text": "the box"}])
    extract(runs["prompt"], tmp_path / "b.parquet", FeatureFile(tmp_path / "new.jsonl"))
    (row,) = parquet.read_table(tmp_path / "b.parquet").to_pylist()
    assert row["vector"] == pytest.approx(
        freezeplan.load_run(runs["prompt"]).embed(["the box"])[0].tolist(), abs=1e-5
    )
