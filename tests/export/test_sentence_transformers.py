"""Exports to sentence-transformers: the folder gives the vectors that the run gives, or it is not there."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest

import freezeplan
from freezeplan.data.modality import IMAGE
from freezeplan.diagnostics import DiagnosticError
from freezeplan.export import sentence
from freezeplan.export.exporting import export
from freezeplan.export.inputs import ProofInputs
from freezeplan.models.sentence_folder import read_sentence_folder
from freezeplan.spec.reading import load_spec
from freezeplan.train.run import train
from freezeplan.train.saved_run import load_run
from freezeplan.train.setup import prepare
from tests.train.targets import pair_data, tasks_of_every_kind, write_targets
from tests.train.tiny import toy_data, toy_spec

FORM = "sentence-transformers"
POOLINGS = ("mean", "cls", "last", "max")
TEXTS = ["the screen is great", "a letter", "price price till the box is here again " * 12]
TRAINED = [{"match": "**", "state": "trainable"}]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny model and rows; no test may change it."""
    return write_targets(tmp_path_factory.mktemp("targets"))


@pytest.fixture(scope="module")
def runs(rows: Path) -> dict[str, Path]:
    """Return a run for each pooling; no test may change them."""
    task = {"name": "find", "kind": "embedding", "data": pair_data(rows)}
    return {
        pooling: train(_spec(rows, pooling, task), rows / f"run-{pooling}").folder for pooling in POOLINGS
    }


def _spec(rows: Path, pooling: str, task: Any) -> Any:
    model = {"source": str(rows / "bert"), "pooling": pooling}
    table = {"epochs": 1, "max_length": 32}
    return toy_spec(rows, model=model, task=[task], rule=TRAINED, optimizer={"lr": 2e-3}, train=table)


def refusal(*arguments: Any, **more: Any) -> Any:
    with pytest.raises(DiagnosticError) as caught:
        export(*arguments, **more)
    (found,) = caught.value.diagnostics
    return found


@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_is_written_is_read_back_as_it_was(runs: dict[str, Path], tmp_path: Path, pooling: str) -> None:
    run = load_run(runs[pooling])
    written = sentence.SentenceEncoder().write(run, "find", tmp_path, ProofInputs(TEXTS, "texts"))
    found = read_sentence_folder(tmp_path, "folder")
    assert written == "SentenceTransformer" and found is not None
    assert (found.pooling, found.max_length, found.others) == (pooling, 32, ())
    source = {"source": str(tmp_path)}
    spec = load_spec(
        _spec(runs[pooling].parent, pooling, {"name": "x", "data": toy_data(runs[pooling].parent, "topic")})
    )
    setup = prepare(spec.model_copy(update={"model": spec.model.model_copy(update=source)}))
    encoded = setup.encoder.encode(TEXTS)
    setup.model.eval()
    batch = setup.encoder.batch(encoded, range(len(TEXTS)), setup.device)
    vectors = setup.model.vectors(**batch).detach().cpu().numpy()
    assert numpy.abs(vectors - freezeplan.load_run(runs[pooling]).embed(TEXTS)).max() <= 1e-5


@pytest.mark.parametrize("pooling", POOLINGS)
def test_sentence_transformers_gives_the_vectors_of_embed(
    runs: dict[str, Path], tmp_path: Path, pooling: str
) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    found = export(runs[pooling], FORM, tmp_path / "out")
    assert (found.loads_as, found.task, found.rows, found.cut) == ("SentenceTransformer", None, 16, 0)
    assert found.difference <= 1e-6
    model = library.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert model.max_seq_length == 32 and model.similarity_fn_name == "cosine"
    assert numpy.abs(model.encode(TEXTS) - freezeplan.load_run(runs[pooling]).embed(TEXTS)).max() <= 1e-5


def test_a_folder_that_gives_other_vectors_is_refused(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    monkeypatch.setattr(sentence, "MODES", sentence.MODES | {"mean": "pooling_mode_cls_token"})
    found = refusal(runs["mean"], FORM, tmp_path / "out")
    assert found.code == "FP570" and "does not give the vectors" in found.message
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_many_tasks_is_proved_on_texts_that_are_compared(rows: Path, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    spec = toy_spec(rows, task=tasks_of_every_kind(rows), rule=TRAINED, train={"epochs": 1, "batch_size": 32})
    train(spec, tmp_path / "run")
    for task in (None, "ner", "pair", "pick", "topic"):
        found = export(tmp_path / "run", FORM, tmp_path / f"out-{task}", task=task)
        assert found.task is None and found.difference <= 1e-5
    cards = {task: (tmp_path / f"out-{task}" / "README.md").read_text() for task in ("topic", "pick")}
    assert all("library_name: sentence-transformers" in card for card in cards.values())
    assert "recall_at_1" in cards["pick"] and "accuracy" not in cards["topic"]
    names = [
        json.loads((tmp_path / f"out-{task}" / "config.json").read_text())["model_type"]
        for task in ("ner", None)
    ]
    assert names == ["bert", "bert"]


def test_without_the_library_nothing_is_claimed(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence, "find_spec", lambda name: None)
    found = refusal(runs["mean"], FORM, tmp_path / "out")
    assert found.code == "FP575" and "sentence" in found.help
    assert list(tmp_path.iterdir()) == []


def test_a_run_over_images_is_refused() -> None:
    run: Any = SimpleNamespace(encoder=SimpleNamespace(kind=IMAGE))
    with pytest.raises(DiagnosticError) as caught:
        sentence.SentenceEncoder().check(run, "parity")
    assert caught.value.diagnostics[0].code == "FP570"
