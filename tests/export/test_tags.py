"""Exports of tags of words: the stock model and its pipeline give the run's tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, T5Config, T5Model, pipeline

from freezeplan.diagnostics import DiagnosticError
from freezeplan.export.exporting import export
from freezeplan.train.predict import Asked, predict
from tests.export.words import tags_run
from tests.train.targets import write_targets
from tests.train.tiny import SPECIAL, WORDS, tiny_tokenizer

TEXTS = ["the screen is great", "price price till the box is here again", "awful letter"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny model and rows of words; no test may change it."""
    return write_targets(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def run(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with a linear and a native head; no test may change it."""
    tasks: dict[str, dict[str, Any]] = {"plain": {}, "stock": {"head": "native"}}
    return tags_run(place, tmp_path_factory.mktemp("tags") / "run", tasks=tasks)


@pytest.mark.parametrize("task", ["plain", "stock"])
def test_a_pipeline_gives_predicts_tags(run: Path, tmp_path: Path, task: str) -> None:
    found = export(run, "transformers", tmp_path / "out", task=task)
    assert (found.loads_as, found.rows, found.source) == ("BertForTokenClassification", 16, "test.jsonl")
    assert found.difference <= 1e-6
    pipe = pipeline("token-classification", str(tmp_path / "out"), aggregation_strategy="first")
    for text, answer in zip(TEXTS, predict(run, TEXTS, Asked([task])), strict=True):
        assert tags_of(pipe(text, ignore_labels=[]), text) == [tag[2:] or tag for tag in answer[task]["tags"]]
    single = pipeline("token-classification", str(tmp_path / "out"))
    for text, answer in zip(TEXTS, predict(run, TEXTS, Asked([task])), strict=True):
        given = single(text, ignore_labels=[])
        assert [item["entity"] for item in given] == answer[task]["tags"]
        assert [item["score"] for item in given] == pytest.approx(answer[task]["scores"], abs=1e-5)


def tags_of(groups: list[dict[str, Any]], text: str) -> list[str]:
    """Return the type of each word's tag that a pipeline's groups give."""
    return [group["entity_group"] for group in groups for _ in text[group["start"] : group["end"]].split()]


def test_the_labels_are_in_the_config_in_the_order_of_the_outputs(run: Path, tmp_path: Path) -> None:
    export(run, "transformers", tmp_path / "out", task="plain")
    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "out").eval()
    assert model.config.id2label == {0: "B-mood", 1: "B-topic", 2: "O"}
    words = TEXTS[1].split()
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out")(
        [words], is_split_into_words=True, return_tensors="pt"
    )
    with torch.no_grad():
        places = model(**tokens).logits[0].argmax(dim=-1)[1:-1].tolist()
    (answer,) = predict(run, [words], Asked(["plain"]))
    assert [model.config.id2label[number] for number in places] == answer["plain"]["tags"]


@pytest.mark.parametrize("head", ["linear", "native"])
def test_an_encoders_tags_are_those_of_a_stock_model_without_the_decoder(
    place: Path, tmp_path: Path, head: str
) -> None:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    torch.manual_seed(1)
    T5Model(T5Config(vocab_size=len(SPECIAL) + len(WORDS), **sizes)).save_pretrained(tmp_path / "t5")
    tiny_tokenizer().save_pretrained(tmp_path / "t5")
    rule = [{"match": "**", "state": "frozen"}, {"match": "heads", "state": "trainable"}]
    model = {"source": str(tmp_path / "t5")}
    run = tags_run(place, tmp_path / "run", tasks={"ner": {"head": head}}, model=model, rule=rule)
    found = export(run, "transformers", tmp_path / "out")
    assert found.loads_as == "T5ForTokenClassification" and found.difference <= 1e-6


def test_other_tags_than_the_runs_are_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freezeplan.export import stock

    monkeypatch.setattr(stock, "_linear", lambda linear, own, name: {k: v + 1e-3 for k, v in own.items()})
    with pytest.raises(DiagnosticError) as caught:
        export(run, "transformers", tmp_path / "out", task="plain")
    (found,) = caught.value.diagnostics
    assert found.code == "FP570"
    assert "does not read the states of tokens as a linear head does" in found.message
    assert list(tmp_path.iterdir()) == []
