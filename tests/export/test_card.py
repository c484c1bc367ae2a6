"""The card of an export: what it says is what the run's files say, and its code runs."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest
import yaml

from freezeplan.diagnostics import DiagnosticError
from freezeplan.export.exporting import export
from freezeplan.export.front_matter import Shipped, front_matter
from freezeplan.render.model_card import Score
from freezeplan.spec.tables import Task
from freezeplan.train.predict import Asked, predict
from freezeplan.train.run import train
from tests.export.cards import front_of, printed_by
from tests.export.words import tags_run
from tests.train.phased import ALL, HEADS_ONLY, POOLER
from tests.train.targets import write_targets
from tests.train.tiny import toy_data, toy_spec

PHASES = [
    {"name": "heads | only", "epochs": 1},
    {"name": "all", "epochs": 1, "rule": [ALL, POOLER, {"match": "heads.topic", "state": "frozen"}]},
]


@pytest.fixture(scope="module")
def run(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose native head is frozen while the backbone goes on; no test may change it."""
    tasks = [
        {"name": "topic", "data": toy_data(toy, "topic"), "head": "native"},
        {"name": "mood", "data": toy_data(toy, "mood")},
    ]
    table = {"batch_size": 16, "keep_best": "topic/accuracy"}
    spec = toy_spec(toy, rule=HEADS_ONLY, phase=PHASES, task=tasks, train=table, optimizer={"lr": 2e-3})
    return train(spec, tmp_path_factory.mktemp("cards") / "run").folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    """Return the exported task; no test may change it."""
    export(run, "transformers", run.parent / "out", task="topic")
    return run.parent / "out"


def test_its_numbers_are_those_of_the_run(run: Path, exported: Path, toy: Path) -> None:
    text = (exported / "README.md").read_text("utf-8")
    record = json.loads((run / "run.json").read_text())
    for split in ("validation", "test"):
        for name, value in record["scores"][split]["scores"]["topic"].items():
            assert f"| {split} | 24 | `{name}` | {value:.4f} |" in text
    assert "| train | 96 | `train.jsonl` |" in text
    assert record["plan_hash"] in text and record["sha256"] in text
    for phase in json.loads((run / "evidence.json").read_text())["phases"]:
        assert phase["statement"] in text
    assert "<code>heads &#124; only</code> | 12 | `complete` |" in text
    assert "24 inputs of `test.jsonl`: their outputs differ by at most" in text
    assert str(toy) not in text and str(run.parent) not in text


def test_a_heads_drift_and_the_advice_are_among_its_limits(run: Path, exported: Path) -> None:
    limits = (exported / "README.md").read_text("utf-8").split("## Limits")[1].split("## ")[0]
    drift = json.loads((run / "evidence.json").read_text())["phases"][1]["drift"][0]
    assert drift["task"] == "topic"
    assert f"Its head was frozen in `{drift['since']}` while the backbone" in limits
    assert f"accuracy {drift['changes']['accuracy']:+.4f}" in limits
    advice = "in phase `all`: head `heads.topic` is frozen while the backbone beneath it trains"
    assert f"FP405, known before the training: {advice}" in limits
    assert "trained for 1 other task too" in limits


def test_its_front_holds_no_fact_that_nobody_stated(exported: Path) -> None:
    assert front_of(exported) == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["freezeplan"],
    }


def test_its_code_gives_predicts_answer(run: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (answer,) = ast.literal_eval(printed_by(exported, monkeypatch))
    (expected,) = predict(run, ["A text."], Asked(["topic"]))
    assert answer["label"] == expected["topic"]["label"]
    assert answer["score"] == pytest.approx(expected["topic"]["score"], abs=1e-5)


def test_a_checkpoints_card_has_its_own_scores(run: Path, tmp_path: Path) -> None:
    best = json.loads((run / "run.json").read_text())["best"]
    export(run, "transformers", tmp_path / "out", task="topic", checkpoint="best")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    state = json.loads((run / "checkpoints" / best["checkpoint"] / "state.json").read_text())
    for name, value in state["validation"]["topic"].items():
        assert f"| validation | 24 | `{name}` | {value:.4f} |" in text
    assert "| test | 24 | `accuracy`" not in text


def test_the_code_of_tags_takes_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write_targets(tmp_path, 16, 8)
    export(tags_run(place, tmp_path / "run", tasks={"ner": {}}), "transformers", tmp_path / "out")
    assert front_of(tmp_path / "out")["pipeline_tag"] == "token-classification"
    assert len(ast.literal_eval(printed_by(tmp_path / "out", monkeypatch))) == 1


@pytest.mark.parametrize("name", ["spec.toml", "plan.json", "evidence.json"])
def test_papers_that_someone_edited_are_refused(run: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / name).write_text("x = 1\n")
    with pytest.raises(DiagnosticError) as caught:
        export(tmp_path / "run", "transformers", tmp_path / "out", task="topic")
    (found,) = caught.value.diagnostics
    assert found.code == "FP521" and name in found.message


def test_results_are_listed_where_the_hub_has_the_data() -> None:
    data = {"hub": "someone/letters", "subset": "en", "train": "train", "test": "test"}
    task = Task.model_validate({"name": "topic", "data": data})
    shipped = Shipped("`BertForSequenceClassification`", "", "transformers", "text-classification", (), "")
    scores = [Score("test", "macro_f1", 0.5, 7), Score("test", "loss", 1.0, 7)]
    front = yaml.safe_load(front_matter(shipped, "someone/encoder", task, scores))
    assert front["base_model"] == "someone/encoder" and front["datasets"] == ["someone/letters"]
    (entry,) = front["model-index"]
    (result,) = entry["results"]
    assert result["dataset"] == {
        "name": "someone/letters",
        "type": "someone/letters",
        "config": "en",
        "split": "test",
    }
    assert result["metrics"] == [{"type": "f1", "value": 0.5, "name": "macro_f1"}]
    assert "license" not in front
