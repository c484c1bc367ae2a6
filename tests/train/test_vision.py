"""Vision models train like text models: they learn, prove what stayed, and predict from image files.

A logistic regression on the raw pixels of the digits gets .964 of the test images right.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image

from freezeplan.diagnostics import DiagnosticError
from freezeplan.train.predict import predict
from freezeplan.train.run import RunResult, train
from freezeplan.train.saved_run import load_run
from tests.train.tiny import toy_data, toy_spec
from tests.train.vision import EVERYTHING, LABELS, VIT, digits_spec, save_resnet, write_digits

HEADS = {"match": "@heads", "state": "trainable", "lr_mult": 3.0}
LLRD = {"match": "**", "state": "trainable", "layer_decay": {"formula": "beit", "rate": 0.8}}
LATER = {"epochs": 3, "batch_size": 32, "mixing": "joint"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the digits."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    return folder


@dataclass(frozen=True)
class Family:
    """A kind of model: what it starts from, and the rules of its three runs."""

    start: dict[str, Any]
    everything: list[dict[str, Any]]
    upper: list[dict[str, Any]]
    llrd: list[dict[str, Any]]


@pytest.fixture(scope="module", params=["vit", "resnet"])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    frozen = {"match": "**", "state": "frozen"}
    if request.param == "vit":
        top = {"match": ["@layers[-1:]", "@final_norm"], "state": "trainable"}
        pooler = {"match": "@pooler", "state": "frozen"}
        return Family(
            {"config": VIT}, EVERYTHING, [frozen, top, HEADS], [LLRD | {"except": "@pooler"}, pooler]
        )
    source = save_resnet(tmp_path_factory.mktemp("resnet"))
    top = {"match": "@stages[-1:]", "state": "trainable"}
    everything = [{"match": "**", "state": "trainable"}]
    return Family({"source": str(source)}, everything, [frozen, top, HEADS], [LLRD])


@pytest.fixture(scope="module")
def first(family: Family, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """Return a run that taught a whole random model the digits, and nothing of parity."""
    out = tmp_path_factory.mktemp("first") / "run"
    return train(digits_spec(digits, family.start, ("digit",), rule=family.everything), out)


def again(first: RunResult, digits: Path, rule: list[dict[str, Any]], out: Path) -> RunResult:
    """Go on from a run with both tasks: one head is the run's, the other is new."""
    return train(digits_spec(digits, {"source": str(first.folder)}, rule=rule, train=LATER), out)


@pytest.mark.slow
def test_upper_layers_learn_a_second_task_on_frozen_lower_ones(
    family: Family, first: RunResult, digits: Path, tmp_path: Path
) -> None:
    result = again(first, digits, family.upper, tmp_path / "run")
    assert first.test["digit"]["accuracy"] >= 0.85
    assert result.test["digit"]["accuracy"] >= 0.9
    assert result.test["parity"]["accuracy"] >= 0.9
    assert result.evidence is not None and result.evidence.holds
    frozen = [item for item in result.evidence.tensors if item.frozen]
    assert {item.moved for item in frozen} == {False}
    trained = [item for item in result.evidence.tensors if item.kind == "parameter" and not item.frozen]
    assert {item.moved for item in trained} == {True}
    if family.start.get("source"):
        statistics = {item.name for item in frozen if item.name.endswith("running_mean")}
        assert {name.split(".")[1] for name in statistics} == {"embedder", "encoder"}
        moving = [item for item in result.evidence.tensors if item.kind == "buffer" and not item.frozen]
        assert {item.name.split(".stages.")[1][0] for item in moving} == {"1"}
        assert {item.moved for item in moving} == {True}


@pytest.mark.slow
def test_layer_decay_trains_everything_at_falling_rates(
    family: Family, first: RunResult, digits: Path, tmp_path: Path
) -> None:
    result = again(first, digits, family.llrd, tmp_path / "run")
    assert result.test["digit"]["accuracy"] >= 0.9
    assert result.test["parity"]["accuracy"] >= 0.92
    assert result.plan is not None and result.evidence is not None
    rates = sorted({group.lr[0] for group in result.plan.groups})
    depth = 3 if "config" in family.start else 2
    assert rates == pytest.approx([3e-3 * 0.8**power for power in range(depth + 1, -1, -1)])
    assert all(item.moved for item in result.evidence.tensors if not item.frozen)


def small_spec(folder: Path, **tables: Any) -> Any:
    """Return a spec over a few of the digits, in files that this makes."""
    write_digits(folder)
    for split, count in {"train": 64, "validation": 16, "test": 16}.items():
        path = folder / f"{split}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:count]))
    table = {"epochs": 1, "batch_size": 16, "eval_batch_size": 8}
    return digits_spec(folder, {"config": VIT | {"num_hidden_layers": 1}}, train=table, **tables)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """Return a short run; it need not have learned anything."""
    folder = tmp_path_factory.mktemp("small")
    return train(small_spec(folder), folder / "run")


def test_a_run_over_images_holds_its_image_processor_and_no_tokenizer(small: RunResult) -> None:
    names = {path.name for path in small.folder.iterdir()}
    assert "preprocessor_config.json" in names
    assert not {name for name in names if name.startswith("tokenizer")}
    record = json.loads((small.folder / "run.json").read_text())
    assert (record["input"], record["max_length"]) == ("image", None)
    assert record["tasks"]["digit"]["columns"] == {"image": "image", "label": "digit"}
    assert small.statement.startswith("2 frozen tensors bit-identical")


def test_files_numbers_and_objects_of_one_image_get_the_same_answer(small: RunResult, tmp_path: Path) -> None:
    (row, *_) = (small.folder.parent / "test.jsonl").read_text().splitlines()
    numbers = json.loads(row)["image"]
    image = Image.new("L", (8, 8))
    image.putdata([pixel for line in numbers for pixel in line])
    image.save(tmp_path / "digit.png")
    inputs = [str(tmp_path / "digit.png"), numbers, image, (tmp_path / "digit.png").read_bytes()]
    answers = list(predict(small.folder, inputs))
    assert [answer["image"] for answer in answers] == inputs
    assert [list(answer) for answer in answers] == [["image", "digit", "parity"]] * 4
    assert len({answer["digit"]["score"] for answer in answers}) == 1
    assert answers[0]["digit"]["label"] in LABELS["digit"]


def test_scores_come_from_pixels_scaled_to_plus_and_minus_one(small: RunResult) -> None:
    saved = load_run(small.folder)
    numbers = [[(17 * row + 31 * column) % 256 for column in range(8)] for row in range(8)]
    (answer,) = predict(small.folder, [numbers])
    pixels = torch.tensor(numbers, dtype=torch.float32).div(255).sub(0.5).div(0.5)
    with torch.no_grad():
        scores = saved.model(task="digit", pixel_values=pixels[None, None]).softmax(dim=1)
    assert answer["digit"]["score"] == pytest.approx(float(scores.max()), abs=1e-6)


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ("nowhere.png", "a file that does not exist: `nowhere.png`"),
        (None, "null"),
        ([[1, 2], [3]], "lengths differ"),
        (b"no image", "cannot be read as an image"),
        (7, "type int"),
    ],
)
def test_inputs_that_are_no_image_are_named_by_number(small: RunResult, bad: Any, what: str) -> None:
    good = [[0] * 8] * 8
    answers = predict(small.folder, [good] * 8 + [good, bad])
    assert len([next(answers) for _ in range(8)]) == 8
    with pytest.raises(DiagnosticError) as caught:
        next(answers)
    (found,) = caught.value.diagnostics
    assert found.code == "FP530"
    assert "input 10" in found.message and what in found.message


def code_of(spec: Any, out: Path) -> tuple[str, str | None]:
    with pytest.raises(DiagnosticError) as caught:
        train(spec, out)
    assert not out.exists()
    return caught.value.diagnostics[0].code, caught.value.diagnostics[0].where


def test_texts_for_a_vision_model_and_images_for_a_language_model_are_refused(
    toy: Path, digits: Path, tmp_path: Path
) -> None:
    texts = [{"name": "topic", "data": toy_data(toy, "topic")}]
    images = digits_spec(digits, {"source": str(toy / "bert")}, ("digit",)).task
    assert code_of(toy_spec(toy, model={"config": VIT}, task=texts), tmp_path / "run") == (
        "FP472",
        "task[1].data.text",
    )
    spec = toy_spec(toy).model_copy(update={"task": images})
    assert code_of(spec, tmp_path / "run") == ("FP472", "task[1].data.image")


def test_a_model_that_reads_neither_is_refused(toy: Path, tmp_path: Path) -> None:
    config = {"model_type": "wav2vec2", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config |= {"intermediate_size": 8, "conv_dim": [8], "conv_kernel": [3], "conv_stride": [2]}
    config |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 1}
    rule = [{"match": "**", "state": "trainable"}]
    code, _ = code_of(toy_spec(toy, model={"config": config}, rule=rule), tmp_path / "run")
    assert code == "FP472"


def test_a_processor_of_another_size_than_the_model_is_found_before_training(
    digits: Path, tmp_path: Path
) -> None:
    source = tmp_path / "vit"
    config = transformers.ViTConfig(**{key: value for key, value in VIT.items() if key != "model_type"})
    transformers.ViTModel(config).save_pretrained(source)
    size = {"height": 16, "width": 16}
    transformers.ViTImageProcessorPil(size=size, image_mean=[0.5], image_std=[0.5]).save_pretrained(source)
    spec = digits_spec(digits, {"source": str(source)}, ("digit",))
    assert code_of(spec, tmp_path / "run") == ("FP474", "model.source")
    (source / "preprocessor_config.json").write_text('{"image_processor_type": "Unheard"}')
    assert code_of(spec, tmp_path / "run") == ("FP474", "model.source")


def test_channels_that_no_image_has_are_refused(digits: Path, tmp_path: Path) -> None:
    spec = digits_spec(digits, {"config": VIT | {"num_channels": 5}}, ("digit",))
    assert code_of(spec, tmp_path / "run") == ("FP474", "model.source")


def test_without_pillow_images_are_refused_and_the_extra_is_named(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freezeplan.train.image_encoding.find_spec", lambda name: None)
    with pytest.raises(DiagnosticError) as caught:
        train(digits_spec(digits, {"config": VIT}, ("digit",)), tmp_path / "run")
    (found,) = caught.value.diagnostics
    assert (found.code, "freezeplan[vision]" in (found.help or "")) == ("FP470", True)
