"""A run in Python: the answers of the command line, and the vectors that its heads read."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

import freezeplan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.train.predict import predict
from freezeplan.train.run import train
from tests.train.tiny import toy_data, toy_spec

TEXTS = ["the screen is great", "a letter", "price price till the box is here again"]


@pytest.fixture(scope="module")
def run(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with a linear and a native head; no test may change it."""
    tasks = [
        {"name": "topic", "data": toy_data(toy, "topic"), "head": "native"},
        {"name": "mood", "data": toy_data(toy, "mood"), "dropout": 0.0},
    ]
    table = {"epochs": 2, "batch_size": 16, "keep_best": "mood/loss"}
    return train(toy_spec(toy, task=tasks, train=table), tmp_path_factory.mktemp("loaded") / "run").folder


def test_it_answers_as_predict_does(run: Path) -> None:
    assert freezeplan.load_run(run).predict(TEXTS) == list(predict(run, TEXTS))


def test_only_the_tasks_asked_for_are_answered_with_all_probabilities(run: Path) -> None:
    loaded = freezeplan.load_run(str(run))
    (answer,) = loaded.predict(TEXTS[:1], ["topic"], probabilities=True)
    assert list(answer) == ["text", "topic"]
    found = answer["topic"]["probabilities"]
    assert tuple(found) == loaded.labels["topic"]
    assert sum(found.values()) == pytest.approx(1.0)
    assert max(found, key=found.get) == answer["topic"]["label"]
    assert found[answer["topic"]["label"]] == answer["topic"]["score"]


def test_vectors_are_what_the_linear_head_reads(run: Path) -> None:
    loaded = freezeplan.load_run(run)
    found = loaded.embed(TEXTS)
    assert (found.shape, found.dtype) == ((3, 16), numpy.float32)
    scores = loaded.model.heads["mood"](torch.from_numpy(found)).softmax(dim=1).max(dim=1).values
    expected = [answer["mood"]["score"] for answer in loaded.predict(TEXTS)]
    assert scores.tolist() == pytest.approx(expected, abs=1e-6)


def test_nothing_in_gives_nothing_out_and_one_text_is_no_list(run: Path) -> None:
    loaded = freezeplan.load_run(run)
    assert loaded.predict([]) == []
    assert loaded.embed([]).shape == (0, 16)
    with pytest.raises(TypeError, match="not one text"):
        loaded.embed("a letter")


def test_a_checkpoint_is_loaded_by_its_name(run: Path) -> None:
    names = sorted(item.name for item in (run / "checkpoints").iterdir())
    first = freezeplan.load_run(run, names[0]).predict(TEXTS)
    assert first == list(predict(run / "checkpoints" / names[0], TEXTS))
    assert first != freezeplan.load_run(run).predict(TEXTS)
    assert freezeplan.load_run(run, "best").predict(TEXTS) == list(predict(run, TEXTS))


def test_a_task_that_the_run_has_not_is_refused_with_the_closest(run: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.load_run(run).predict(TEXTS, ["moods"])
    (item,) = caught.value.diagnostics
    assert (item.code, item.help) == ("FP574", "did you mean `mood`?")
