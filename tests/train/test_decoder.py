"""A tiny decoder with classification heads: it learns from its last token, and not from its first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from freezeplan.outside.quiet import quiet
from freezeplan.train.predict import predict
from freezeplan.train.run import RunResult, train
from tests.train.tiny import SPECIAL, WORDS, tiny_tokenizer, toy_spec, write_toy_data

UPPER = [
    {"match": "**", "state": "frozen"},
    {"match": ["@layers[-1:]", "@final_norm", "@heads"], "state": "trainable"},
]
LLRD = [{"match": "**", "state": "trainable", "layer_decay": {"formula": "beit", "rate": 0.8}}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with toy data and a random Qwen3 of two layers of 32."""
    folder = tmp_path_factory.mktemp("decoder")
    write_toy_data(folder, train=240, other=40)
    config = transformers.Qwen3Config(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        transformers.Qwen3Model(config).save_pretrained(folder / "qwen3")
    tiny_tokenizer().save_pretrained(folder / "qwen3")
    return folder


def run(folder: Path, out: Path, pooling: str, rule: list[dict[str, Any]], epochs: int = 6) -> RunResult:
    model = {"source": str(folder / "qwen3"), "pooling": pooling}
    table = {"epochs": epochs, "batch_size": 8, "mixing": "joint"}
    return train(toy_spec(folder, model=model, rule=rule, optimizer={"lr": 5e-3}, train=table), out)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize(("rule", "least"), [(UPPER, 0.65), (LLRD, 0.9)], ids=["upper layers", "llrd"])
def test_a_decoder_learns(
    folder: Path, tmp_path: Path, pooling: str, rule: list[dict[str, Any]], least: float
) -> None:
    result = run(folder, tmp_path / "run", pooling, rule)
    # Guessing gives 0.33 and 0.5.
    assert result.test["topic"]["accuracy"] >= least
    assert result.test["mood"]["accuracy"] >= least
    assert result.evidence is not None and result.evidence.holds
    frozen = [item.name for item in result.evidence.tensors if item.frozen]
    assert ("backbone.layers.0.mlp.down_proj.weight" in frozen) is (rule is UPPER)
    trained = [item for item in result.evidence.tensors if item.kind == "parameter" and not item.frozen]
    assert {item.moved for item in trained} == {True}


def test_the_pooling_of_a_run_is_that_of_its_predictions(folder: Path, tmp_path: Path) -> None:
    result = run(folder, tmp_path / "run", "last", UPPER, epochs=1)
    short, long = ["great parcel"], ["great parcel", "the box is here now again so my one a awful till"]
    alone, together = next(iter(predict(result.folder, short))), next(iter(predict(result.folder, long)))
    assert alone["topic"]["label"] == together["topic"]["label"]
    assert alone["topic"]["score"] == pytest.approx(together["topic"]["score"], abs=1e-5)


def test_the_first_token_of_a_decoder_has_seen_nothing(folder: Path, tmp_path: Path) -> None:
    result = run(folder, tmp_path / "run", "cls", LLRD, epochs=1)
    scores = {answer["mood"]["score"] for answer in predict(result.folder, ["great parcel", "awful till"])}
    assert len(scores) == 1
