"""Native heads: a run with one is the stock model that transformers would have trained, store or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import pad as pad_ends
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    Qwen3Config,
    Qwen3Model,
    Trainer,
    TrainingArguments,
)

from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.loading import load_model
from freezeplan.models.multitask import MultiTaskModel
from freezeplan.models.native import NativeHead, native_head, stock_config
from freezeplan.models.run_weights import weights_of_run
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.runs.events import StepDone
from freezeplan.runs.verify import verify_run
from freezeplan.spec.tables import Spec
from freezeplan.train.predict import predict
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from freezeplan.train.saved_run import load_run
from tests.train.test_run import interrupt_at
from tests.train.tiny import SPECIAL, WORDS, tiny_tokenizer, toy_data, toy_rows, toy_spec, write_jsonl

STEPS, ROWS = 20, 16
ALL = [{"match": "**", "state": "trainable"}]
NATIVE = {"name": "topic", "head": "native"}
UPPER = [
    {"match": "**", "state": "frozen"},
    {"match": ["backbone.@layers[-1]", "@pooler", "heads"], "state": "trainable"},
]


def task(toy: Path, **more: Any) -> dict[str, Any]:
    return NATIVE | {"data": toy_data(toy, "topic")} | more


def without_dropout(folder: Path) -> Path:
    """Save a tiny BERT without dropout, and rows that make one batch."""
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **sizes,
    )
    BertModel(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    write_jsonl(folder / "train.jsonl", toy_rows(ROWS, seed=5))
    return folder


def stock_weights(spec: Spec, folder: Path) -> dict[str, torch.Tensor]:
    """Train the stock class by transformers' Trainer, from the weights that the spec's model begins with."""
    begun, _ = load_model(spec)
    stock = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    stock.classifier.load_state_dict(begun.heads["topic"].classifier.state_dict())
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    labels = sorted({row["topic"] for row in rows})
    encoded = tiny_tokenizer()([row["text"] for row in rows], padding=True)
    items = [
        {name: torch.tensor(values[row]) for name, values in encoded.items()}
        | {"labels": torch.tensor(labels.index(rows[row]["topic"]))}
        for row in range(len(rows))
    ]
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        max_steps=STEPS,
        per_device_train_batch_size=ROWS,
        learning_rate=1e-3,
        weight_decay=0.01,
        lr_scheduler_type="linear",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    Trainer(model=stock, args=arguments, train_dataset=items).train()
    return stock.state_dict()


def test_a_native_head_trains_as_the_trainer_trains_the_stock_class(tmp_path: Path) -> None:
    folder = without_dropout(tmp_path / "bert")
    spec = toy_spec(
        folder,
        model={"source": str(folder)},
        optimizer={"lr": 1e-3, "weight_decay": 0.01},
        rule=ALL,
        task=[NATIVE | {"data": {"train": str(folder / "train.jsonl"), "label": "topic"}}],
        train={"epochs": STEPS, "batch_size": ROWS},
    )
    expected = stock_weights(spec, folder)
    train(spec, tmp_path / "run")
    found = {
        name.replace("backbone.", "bert.").replace("heads.topic.", ""): tensor
        for name, tensor in weights_of_run(tmp_path / "run").items()
    }
    largest = max((found[name] - tensor).abs().max().item() for name, tensor in expected.items())
    assert found.keys() == expected.keys()
    assert largest < 2e-6


@pytest.mark.parametrize(
    "rule", [UPPER, UPPER[:1] + [{"match": "heads", "state": "trainable"}]], ids=["upper", "heads"]
)
def test_the_store_changes_no_score_of_a_native_head(
    toy: Path, tmp_path: Path, rule: list[dict[str, Any]]
) -> None:
    losses = []
    for store in ("off", "require"):
        spec = toy_spec(
            toy,
            rule=rule,
            task=[task(toy), {"name": "mood", "data": toy_data(toy, "mood"), "dropout": 0.0}],
            train={"epochs": 2, "batch_size": 16, "store": store},
        )
        train(spec, tmp_path / store)
        record = json.loads((tmp_path / store / "run.json").read_text())
        assert ("stored prefix" in record["execution"]["whole run"]) == (store == "require")
        losses += [[scores["loss"] for scores in record["scores"]["test"]["scores"].values()]]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_a_run_with_a_native_head_is_verified_predicted_and_gone_on_with(toy: Path, tmp_path: Path) -> None:
    spec = toy_spec(toy, rule=UPPER, task=[task(toy)], train={"epochs": 2, "batch_size": 16})
    train(spec, tmp_path / "whole")
    stop = interrupt_at(lambda event: isinstance(event, StepDone) and event.step == 9)
    assert train(spec, tmp_path / "stopped", observer=stop).status == "interrupted"
    assert resume(tmp_path / "stopped").status == "finished"
    whole, stopped = (weights_of_run(tmp_path / name) for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    verify_run(tmp_path / "stopped")
    assert isinstance(load_run(tmp_path / "whole").model.heads["topic"], NativeHead)
    (answer,) = predict(tmp_path / "whole", ["the screen is great"])
    assert answer["topic"]["label"] in ("app", "mail", "shop")


def test_a_runs_native_head_is_carried_on_and_a_linear_one_begins_anew_and_says_so(
    toy: Path, tmp_path: Path
) -> None:
    train(toy_spec(toy, task=[task(toy)], train={"epochs": 1}), tmp_path / "run")
    source = {"source": str(tmp_path / "run")}
    native, record = load_model(toy_spec(toy, model=source, task=[task(toy)]))
    trained = weights_of_run(tmp_path / "run")
    assert torch.equal(native.heads["topic"].classifier.weight, trained["heads.topic.classifier.weight"])
    assert record.fresh == ()
    spec = toy_spec(toy, model=source, task=[task(toy, head="linear")])
    assert load_model(spec)[1].fresh == ("heads.topic.linear.weight", "heads.topic.linear.bias")
    assert inventory_for(spec).notes[-1] == (
        "the run's head of `topic` is native, this spec's linear: it begins anew"
    )


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [("t5", "it reads the decoder"), ("clip", "holds no base model of its own")],
)
def test_an_architecture_without_a_head_for_the_task_is_refused_at_the_key(
    architecture: str, reason: str
) -> None:
    spec = Spec.model_validate(
        {"model": {"architecture": architecture}, "rule": ALL, "task": [NATIVE | {"labels": ["a", "b"]}]}
    )
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(spec)
    (item,) = caught.value.diagnostics
    assert item.code == "FP183"
    assert reason in item.message


def test_a_native_head_is_drawn_by_seed_and_name_alone(toy: Path) -> None:
    one, two = (task(toy), task(toy, name="other"))
    first = load_model(toy_spec(toy, task=[one]))[0].heads["topic"].classifier.weight
    torch.manual_seed(99)
    both = load_model(toy_spec(toy, task=[two, one]))[0].heads
    assert torch.equal(first, both["topic"].classifier.weight)
    assert not torch.equal(first, both["other"].classifier.weight)


@pytest.mark.parametrize("pad", [0, None], ids=["by its number", "by the mask"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_decoders_native_head_reads_the_last_real_token(side: str, pad: int | None) -> None:
    config = Qwen3Config(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        intermediate_size=16,
        pad_token_id=pad,
    )
    torch.manual_seed(1)
    own = stock_config(config, "ab", "single_label_classification")
    model = MultiTaskModel(
        Qwen3Model(config), 16, {"topic": native_head(AutoModelForSequenceClassification, own)}
    ).eval()
    model.heads["topic"].draw_(0)
    ids, real = torch.tensor([[5, 6, 7]]), torch.ones(1, 3, dtype=torch.int64)
    alone = model(task="topic", input_ids=ids, attention_mask=real)
    ends = (0, 2) if side == "right" else (2, 0)
    padded = {"input_ids": pad_ends(ids, ends), "attention_mask": pad_ends(real, ends)}
    if side == "left":
        padded["position_ids"] = torch.tensor([[0, 0, 0, 1, 2]])
    assert torch.allclose(model(task="topic", **padded), alone, atol=1e-6)


def test_a_pooler_that_a_native_head_reads_is_no_idle_one(toy: Path) -> None:
    for head in ("native", "linear"):
        spec = toy_spec(toy, rule=UPPER, task=[task(toy, head=head)])
        codes = {item.code for item in compile_plan(inventory_for(spec), spec).diagnostics}
        assert ("FP415" in codes) == (head == "linear")


def heads_in(spec: Spec) -> set[str]:
    """Return the modules that stand right in the heads of a spec's tasks and hold parameters."""
    names = (item.name for item in inventory_for(spec).params)
    return {".".join(name.split(".")[:3]) for name in names if name.startswith("heads.")}


@pytest.mark.parametrize("architecture", ["deit", "levit"])
def test_of_several_stock_classes_the_first_one_gives_the_head(architecture: str) -> None:
    task = NATIVE | {"labels": ["a", "b"]}
    spec = Spec.model_validate({"model": {"architecture": architecture}, "rule": ALL, "task": [task]})
    assert "heads.topic.classifier" in heads_in(spec)


def test_a_tag_head_of_an_encoder_decoder_that_reads_its_encoder_is_built() -> None:
    task = {"name": "ner", "kind": "token_classification", "head": "native", "labels": ["B-x", "O"]}
    spec = Spec.model_validate({"model": {"architecture": "t5"}, "rule": ALL, "task": [task]})
    assert heads_in(spec) == {"heads.ner.classifier"}
