"""Exports to transformers: the stock class gives the run's answers, or nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, GPT2Config, GPT2Model, pipeline

from freezeplan.diagnostics import DiagnosticError
from freezeplan.export import FORM_NAMES, stock
from freezeplan.export.exporting import export
from freezeplan.export.forms import FORMS
from freezeplan.export.proof import largest_difference
from freezeplan.runs.verify import verify_run
from freezeplan.train.predict import predict
from freezeplan.train.run import train
from tests.train.phased import tree
from tests.train.tiny import SPECIAL, WORDS, tiny_tokenizer, toy_data, toy_spec, write_jsonl
from tests.train.vision import EVERYTHING, VIT, digits_spec, save_resnet, write_digits

TRAINED = [{"match": "**", "state": "trainable"}]
TEXTS = ["the screen is great", "a letter", "price price till the box is here again"]


@pytest.fixture(scope="module")
def run(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with a native and a linear head, all of it trained; no test may change it."""
    out = tmp_path_factory.mktemp("exported") / "run"
    tasks = [
        {"name": "topic", "data": toy_data(toy, "topic"), "head": "native"},
        {"name": "mood", "data": toy_data(toy, "mood"), "dropout": 0.0},
    ]
    table = {"epochs": 2, "batch_size": 16, "keep_best": "topic/accuracy"}
    train(toy_spec(toy, task=tasks, rule=TRAINED, optimizer={"lr": 2e-3}, train=table), out)
    return out


def refusal(*arguments: Any, **more: Any) -> Any:
    with pytest.raises(DiagnosticError) as caught:
        export(*arguments, **more)
    (found,) = caught.value.diagnostics
    return found


def test_a_native_head_gives_predicts_answers_in_a_pipeline(run: Path, tmp_path: Path) -> None:
    before = tree(run)
    found = export(run, "transformers", tmp_path / "out", task="topic")
    assert (found.loads_as, found.rows, found.source) == ("BertForSequenceClassification", 24, "test.jsonl")
    assert found.difference <= 1e-6
    answers = pipeline("text-classification", str(tmp_path / "out"))(TEXTS)
    expected = [answer["topic"] for answer in predict(run, TEXTS)]
    assert [answer["label"] for answer in answers] == [answer["label"] for answer in expected]
    scores = [answer["score"] for answer in expected]
    assert [answer["score"] for answer in answers] == pytest.approx(scores, abs=1e-6)
    assert tree(run) == before
    assert verify_run(run).holds


def test_the_best_checkpoint_is_exported_with_its_own_weights(run: Path, tmp_path: Path) -> None:
    name = json.loads((run / "run.json").read_text())["best"]["checkpoint"]
    export(run, "transformers", tmp_path / "best", task="topic", checkpoint="best")
    export(run / "checkpoints" / name, "transformers", tmp_path / "named", task="topic")
    assert tree(tmp_path / "best") == tree(tmp_path / "named")


def test_a_linear_head_on_mean_pooling_is_refused_and_nothing_is_left(run: Path, tmp_path: Path) -> None:
    found = refusal(run, "transformers", tmp_path / "out", task="mood")
    assert found.code == "FP570"
    assert "does not read the backbone as a linear head on `mean` pooling does" in found.message
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("spoil", ["weights", "labels of the head"])
def test_a_folder_that_gives_other_answers_is_refused(
    run: Path, tmp_path: Path, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = stock.write_stock

    def spoiled(saved: Any, task: str, folder: Path) -> str:
        name = written(saved, task, folder)
        tensors = load_file(folder / "model.safetensors")
        bias = tensors["classifier.bias"]
        tensors["classifier.bias"] = bias + 2e-5 if spoil == "weights" else bias[:2]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return name

    monkeypatch.setattr(stock, "write_stock", spoiled)
    assert refusal(run, "transformers", tmp_path / "out", task="topic").code == "FP570"
    assert os.listdir(tmp_path) == []


def test_what_is_there_is_never_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "file", tmp_path / "full", run / "inside", run):
        assert refusal(run, "transformers", place, task="topic").code == "FP571"
    before = tree(tmp_path)
    (tmp_path / ".empty.partial-1").mkdir()
    export(run, "transformers", tmp_path / "empty", task="topic")
    shutil.rmtree(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    assert tree(tmp_path) == before


def test_a_task_that_the_run_has_not_is_named(run: Path, tmp_path: Path) -> None:
    assert refusal(run, "transformers", tmp_path / "out").message.startswith("the run has 2 tasks")
    assert refusal(run, "transformers", tmp_path / "out", task="topik").help == "did you mean `topic`?"


def test_the_rows_of_a_file_stand_in_for_data_that_have_gone(toy: Path, tmp_path: Path) -> None:
    data = shutil.copytree(toy, tmp_path / "data")
    task = {"name": "topic", "data": toy_data(data, "topic"), "head": "native"}
    train(toy_spec(data, task=[task], train={"epochs": 1}), tmp_path / "run")
    shutil.rmtree(data)
    assert refusal(tmp_path / "run", "transformers", tmp_path / "out").code == "FP573"
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"text": text} for text in TEXTS])
    assert export(tmp_path / "run", "transformers", tmp_path / "out", data=rows).rows == 3
    others = write_jsonl(tmp_path / "others.jsonl", [{"body": text} for text in TEXTS])
    missing = refusal(tmp_path / "run", "transformers", tmp_path / "other", data=others)
    assert (missing.code, missing.help) == ("FP456", "the columns are `body`; --column names it")
    found = export(tmp_path / "run", "transformers", tmp_path / "other", data=others, column="body")
    assert (found.rows, found.source) == (3, "others.jsonl")


def gpt2(folder: Path) -> Path:
    """Save a tiny decoder whose config and tokenizer name no padding token."""
    torch.manual_seed(2)
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    config = GPT2Config(vocab_size=len(SPECIAL) + len(WORDS), bos_token_id=3, eos_token_id=3, **sizes)
    GPT2Model(config).save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
    tokenizer.save_pretrained(folder)
    return folder


def decoders_run(toy: Path, folder: Path, **task: Any) -> Path:
    spec = toy_spec(
        toy,
        model={"source": str(gpt2(folder / "gpt2"))} | ({} if task.get("head") else {"pooling": "last"}),
        rule=TRAINED,
        optimizer={"lr": 1e-3},
        task=[{"name": "topic", "data": toy_data(toy, "topic")} | task],
        train={"epochs": 1, "batch_size": 16},
    )
    train(spec, folder / "run")
    return folder / "run"


def test_a_decoders_head_finds_the_last_token_without_a_padding_token(toy: Path, tmp_path: Path) -> None:
    run = decoders_run(toy, tmp_path, head="native")
    found = export(run, "transformers", tmp_path / "out")
    assert found.loads_as == "GPT2ForSequenceClassification"
    assert found.difference <= 1e-6


def test_a_decoders_score_has_no_bias_for_a_linear_head(toy: Path, tmp_path: Path) -> None:
    found = refusal(decoders_run(toy, tmp_path, dropout=0.0), "transformers", tmp_path / "out")
    assert found.message == (
        "a linear head has a bias, and `score.weight` of `GPT2ForSequenceClassification` has none"
    )
    assert 'head = "native"' in found.help


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the digits of scikit-learn as images."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    save_resnet(folder / "resnet")
    return folder


@pytest.mark.parametrize("head", ["linear", "native"])
def test_an_image_task_is_a_stock_classifier(digits: Path, tmp_path: Path, head: str) -> None:
    vit = head == "linear"
    model = {"config": VIT, "pooling": "cls"} if vit else {"source": str(digits / "resnet")}
    train_table = {"epochs": 1, "batch_size": 64}
    rule = EVERYTHING if vit else TRAINED
    spec = digits_spec(digits, model, ("parity",), rule=rule, train=train_table)
    task = spec.task[0].model_copy(update={"head": head})
    spec = spec.model_copy(update={"task": [task]})
    train(spec, tmp_path / "run")
    found = export(tmp_path / "run", "transformers", tmp_path / "out")
    assert found.loads_as == ("ViTForImageClassification" if vit else "ResNetForImageClassification")
    assert found.difference <= 1e-6


def test_a_runs_own_folder_is_no_stock_model(run: Path) -> None:
    with pytest.raises(OSError, match=r"no file named|model\.safetensors"):
        AutoModelForSequenceClassification.from_pretrained(run)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_no_numbers_are_never_near_the_runs(value: float) -> None:
    ours, theirs = torch.zeros(1, 2), torch.tensor([[0.0, value]])
    assert largest_difference(lambda _: ours, lambda _: theirs, ["a"]) == float("inf")
    assert largest_difference(lambda _: theirs, lambda _: theirs, ["a"]) == float("inf")


def test_the_command_offers_every_form() -> None:
    assert tuple(FORMS) == FORM_NAMES
