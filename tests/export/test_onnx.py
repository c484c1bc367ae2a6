"""Exports to ONNX: ONNX Runtime gives the run's answers from the folder alone, or nothing is left behind."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

from freezeplan.api import load_run
from freezeplan.diagnostics import DiagnosticError
from freezeplan.export import onnx_form
from freezeplan.export.exporting import export
from freezeplan.train.predict import Asked, predict
from freezeplan.train.run import train
from tests.export.cards import front_of, printed_by
from tests.train.targets import tasks_of_every_kind, write_targets
from tests.train.tiny import toy_data, toy_spec
from tests.train.vision import digits_spec, save_resnet, write_digits

TRAINED = [{"match": "**", "state": "trainable"}]
TEXTS = ["the screen is great", "price price till the box is here again", "a letter"]
PAIRS = list(zip(TEXTS, reversed(TEXTS), strict=True))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with a task of each kind, one of them with a native head; no test may change it."""
    place = write_targets(tmp_path_factory.mktemp("targets"))
    tasks = [
        task | ({"head": "native"} if task["name"] == "said" else {}) for task in tasks_of_every_kind(place)
    ]
    spec = toy_spec(place, task=tasks, rule=TRAINED, optimizer={"lr": 2e-3}, train={"epochs": 1})
    return train(spec, place / "run").folder


def refusal(*arguments: Any, **more: Any) -> Any:
    with pytest.raises(DiagnosticError) as caught:
        export(*arguments, **more)
    (found,) = caught.value.diagnostics
    return found


def outputs(folder: Path, batch: Any) -> numpy.ndarray:
    """Return what ONNX Runtime makes of a batch, by the folder alone."""
    session = pytest.importorskip("onnxruntime").InferenceSession(folder / "model.onnx")
    (found,) = session.run(
        None, {item.name: numpy.asarray(batch[item.name]) for item in session.get_inputs()}
    )
    return found


def batch_of(folder: Path, *texts: list[Any], **more: Any) -> Any:
    return AutoTokenizer.from_pretrained(folder)(*texts, padding=True, return_tensors="np", **more)


def softmax(logits: numpy.ndarray) -> numpy.ndarray:
    return torch.from_numpy(logits).softmax(dim=-1).numpy()


def test_without_its_packages_it_says_what_to_install(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_form, "NEEDED", ("onnx", "no_such_runtime"))
    monkeypatch.setattr(onnx_form, "find_spec", lambda name: None if name.startswith("no_") else object())
    found = refusal(run, "onnx", tmp_path / "out", task="topic")
    assert (found.code, found.help) == ("FP575", 'pip install "freezeplan[onnx]"')
    assert found.message.endswith("needs `no_such_runtime`")
    assert list(tmp_path.iterdir()) == []


def test_labels_and_probabilities_are_predicts(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    found = export(run, "onnx", tmp_path / "out", task="topic")
    assert (found.rows, found.source) == (16, "test.jsonl") and found.difference <= 1e-6
    (answer,) = predict(run, ["A text."], Asked(["topic"]))
    assert ast.literal_eval(printed_by(tmp_path / "out", monkeypatch)) == [answer["topic"]["label"]]
    assert front_of(tmp_path / "out")["tags"] == ["freezeplan", "onnx"]
    labels = AutoConfig.from_pretrained(tmp_path / "out").id2label
    expected = [answer["topic"] for answer in predict(run, TEXTS, Asked(["topic"]))]
    for texts, answers in ((TEXTS, expected), (TEXTS[2:], expected[2:])):
        logits = outputs(tmp_path / "out", batch_of(tmp_path / "out", texts))
        assert [labels[place] for place in logits.argmax(axis=1)] == [answer["label"] for answer in answers]
        scores = [answer["score"] for answer in answers]
        assert softmax(logits).max(axis=1).tolist() == pytest.approx(scores, abs=1e-5)


@pytest.mark.slow
def test_a_native_head_is_a_graph_too(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    assert export(run, "onnx", tmp_path / "out", task="said").difference <= 1e-6
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert config.problem_type == "multi_label_classification"
    logits = outputs(tmp_path / "out", batch_of(tmp_path / "out", TEXTS))
    answers = predict(run, TEXTS, Asked(["said"], probabilities=True))
    expected = [list(answer["said"]["probabilities"].values()) for answer in answers]
    assert torch.from_numpy(logits).sigmoid().numpy() == pytest.approx(numpy.array(expected), abs=1e-5)


def test_tags_of_words_come_at_their_first_pieces(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    assert export(run, "onnx", tmp_path / "out", task="ner").difference <= 1e-6
    batch = batch_of(tmp_path / "out", [text.split() for text in TEXTS], is_split_into_words=True)
    labels = AutoConfig.from_pretrained(tmp_path / "out").id2label
    places = outputs(tmp_path / "out", batch).argmax(axis=-1)
    for row, answer in enumerate(predict(run, TEXTS, Asked(["ner"]))):
        count = len(answer["ner"]["tags"])
        assert [labels[place] for place in places[row, 1 : count + 1]] == answer["ner"]["tags"]
    (answer,) = predict(run, [["Some", "words", "apart"]], Asked(["ner"]))
    lines = printed_by(tmp_path / "out", monkeypatch).splitlines()
    assert lines == [f"{word} {tag}" for word, tag in enumerate(answer["ner"]["tags"])]


def test_compared_texts_come_as_their_vectors(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    assert export(run, "onnx", tmp_path / "out", task="alike").difference <= 1e-5
    one, two = (
        torch.from_numpy(outputs(tmp_path / "out", batch_of(tmp_path / "out", list(side))))
        for side in zip(*PAIRS, strict=True)
    )
    expected = [answer["alike"]["value"] for answer in predict(run, PAIRS, Asked(["alike"]))]
    assert (2.0 * torch.cosine_similarity(one, two)).tolist() == pytest.approx(expected, abs=1e-5)
    assert float(printed_by(tmp_path / "out", monkeypatch).strip(" []\n")) == pytest.approx(2, abs=1e-5)
    assert one.numpy() == pytest.approx(load_run(run).embed([pair[0] for pair in PAIRS]), abs=1e-5)


def test_a_trained_comparison_gives_scores(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    assert export(run, "onnx", tmp_path / "out", task="compared").difference <= 1e-5
    expected = [answer["compared"]["value"] for answer in predict(run, PAIRS, Asked(["compared"]))]
    for count in (1, len(PAIRS)):
        first, second = zip(*PAIRS[:count], strict=True)
        found = outputs(tmp_path / "out", batch_of(tmp_path / "out", [*first, *second]))
        assert (2.0 * found[:, 0]).tolist() == pytest.approx(expected[:count], abs=1e-5)
    shown = [("A text.", "One more text."), ("Another.", "The last one.")]
    answers = [answer["compared"]["value"] for answer in predict(run, shown, Asked(["compared"]))]
    printed = [float(value) for value in printed_by(tmp_path / "out", monkeypatch).strip("[]\n").split()]
    assert printed == pytest.approx(answers, abs=1e-5)


@pytest.mark.slow
def test_texts_of_triplets_come_as_their_vectors(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    assert export(run, "onnx", tmp_path / "out", task="pick").difference <= 1e-5
    found = outputs(tmp_path / "out", batch_of(tmp_path / "out", TEXTS))
    assert found == pytest.approx(load_run(run).embed(TEXTS), abs=1e-5)


@pytest.mark.slow
def test_images_run_in_batches_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    write_digits(tmp_path)
    source = {"source": str(save_resnet(tmp_path / "resnet"))}
    table = {"epochs": 1, "batch_size": 256}
    train(digits_spec(tmp_path, source, ("parity",), rule=TRAINED, train=table), tmp_path / "run")
    assert export(tmp_path / "run", "onnx", tmp_path / "out").difference <= 1e-5
    pixels = json.loads((tmp_path / "test.jsonl").read_text().splitlines()[0])["image"]
    image = Image.fromarray(numpy.array(pixels, dtype=numpy.uint8))
    batch = AutoImageProcessor.from_pretrained(tmp_path / "out")([image], return_tensors="np")
    (answer,) = predict(tmp_path / "run", [pixels])
    labels = AutoConfig.from_pretrained(tmp_path / "out").id2label
    assert labels[int(outputs(tmp_path / "out", batch).argmax())] == answer["parity"]["label"]
    image.save(tmp_path / "out" / "picture.png")
    assert ast.literal_eval(printed_by(tmp_path / "out", monkeypatch)) == [answer["parity"]["label"]]


@pytest.mark.slow
def test_a_run_in_another_number_format_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    place = write_targets(tmp_path, 16, 8)
    task = {"name": "topic", "data": toy_data(place, "topic")}
    model = {"source": str(place / "bert"), "dtype": "bfloat16"}
    train(toy_spec(place, model=model, task=[task], train={"epochs": 1}), tmp_path / "run")
    found = refusal(tmp_path / "run", "onnx", tmp_path / "out")
    assert found.message.startswith("the graph computes in float32, and the run in bfloat16: outputs differ")


@pytest.mark.slow
def test_a_graph_is_no_model_of_transformers(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    export(run, "onnx", tmp_path / "out", task="pair")
    assert AutoConfig.from_pretrained(tmp_path / "out").architectures is None
    with pytest.raises(OSError, match=r"no file named|model\.safetensors"):
        AutoModel.from_pretrained(tmp_path / "out")


REFUSALS = {
    "long texts": "the graph does not give the run's outputs in ONNX Runtime",
    "other numbers": "the graph does not give the run's outputs in ONNX Runtime",
    "one length": "torch makes a graph that takes `input_ids` of ",
    "no graph": "torch makes no graph of the model",
}


@pytest.mark.parametrize(
    "spoil",
    [pytest.param(name, marks=pytest.mark.slow if place else ()) for place, name in enumerate(REFUSALS)],
)
def test_a_graph_that_gives_other_answers_is_refused(
    run: Path, tmp_path: Path, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    from freezeplan.export import graph

    def forward(self: Any, *values: torch.Tensor) -> torch.Tensor:
        out = self.model.answer(self.task, **dict(zip(self.names, values, strict=True)))
        if spoil == "other numbers":
            return out + 2e-5
        if spoil == "long texts":
            return out + (values[1].sum(dim=1, keepdim=True) > 60) * 1e-2
        if spoil == "one length":
            return out + 0.0 * int(values[0].shape[1])
        return out[: int(out.sum() > 0)]

    monkeypatch.setattr(graph.TaskGraph, "forward", forward)
    found = refusal(run, "onnx", tmp_path / "out", task="topic")
    assert found.code == "FP570"
    assert found.message.startswith(REFUSALS[spoil])
    assert list(tmp_path.iterdir()) == []
