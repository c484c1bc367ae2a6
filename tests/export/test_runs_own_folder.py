"""A run's own folder, its checkpoints and its weights: no library takes them for a model that they are not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import transformers
from accelerate import load_checkpoint_in_model
from transformers import AutoConfig, AutoModel, AutoTokenizer, pipeline

from freezeplan.outside.quiet import quiet
from freezeplan.train.run import train
from tests.train.tiny import toy_data, toy_spec

CLASSES = (
    "AutoModel",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoModelForMaskedLM",
    "AutoModelForCausalLM",
    "BertModel",
    "BertForSequenceClassification",
)


@pytest.fixture(scope="module")
def run(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with a native head; no test may change it."""
    task = {"name": "topic", "data": toy_data(toy, "topic"), "head": "native"}
    return train(toy_spec(toy, task=[task]), tmp_path_factory.mktemp("own") / "run").folder


def places(run: Path) -> list[Path]:
    """Return every folder of a run that someone may point a library to."""
    return [run, run / "weights", *(run / "checkpoints").iterdir()]


def taken(load: Callable[[str], Any], run: Path) -> list[Path]:
    """Return the places that a library takes for a model of its own."""
    found = []
    for place in places(run):
        with suppress(OSError, ValueError, RuntimeError), quiet():
            load(str(place))
            found.append(place)
    return found


@pytest.mark.parametrize("name", CLASSES)
def test_transformers_finds_no_model_in_it(run: Path, name: str) -> None:
    assert taken(getattr(transformers, name).from_pretrained, run) == []


def test_neither_do_a_pipeline_and_accelerate(run: Path) -> None:
    with quiet():
        base = AutoModel.from_config(AutoConfig.from_pretrained(run))
    assert taken(lambda folder: pipeline("text-classification", folder), run) == []
    assert taken(lambda folder: load_checkpoint_in_model(base, folder), run) == []


def test_neither_does_sentence_transformers(run: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    assert taken(lambda folder: library.SentenceTransformer(folder, local_files_only=True), run) == []
    assert taken(lambda folder: library.CrossEncoder(folder, local_files_only=True), run) == []


def test_neither_does_peft(run: Path) -> None:
    peft = pytest.importorskip("peft")
    with quiet():
        base = AutoModel.from_config(AutoConfig.from_pretrained(run))
    assert taken(peft.PeftConfig.from_pretrained, run) == []
    assert taken(lambda folder: peft.PeftModel.from_pretrained(base, folder), run) == []


def test_its_config_and_its_tokenizer_are_what_they_seem(run: Path) -> None:
    config, tokenizer = AutoConfig.from_pretrained(run), AutoTokenizer.from_pretrained(run)
    assert config.model_type == "bert" and config.vocab_size == len(tokenizer)
