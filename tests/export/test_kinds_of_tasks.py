"""Exports of tasks that are no classification: their stock models know what kind they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from freezeplan.diagnostics import DiagnosticError
from freezeplan.export import FORM_NAMES
from freezeplan.export.exporting import export
from freezeplan.export.forms import FORMS
from freezeplan.train.predict import Asked, predict
from freezeplan.train.run import train
from tests.train.targets import tasks_of_every_kind, write_targets
from tests.train.tiny import toy_spec

TEXTS = ["the screen is great", "a letter", "price price till the box is here again"]
NATIVE = {
    "numbers": "regression",
    "said": "multi_label_classification",
    "pair": "single_label_classification",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose tasks have native heads; no test may change it."""
    place = write_targets(tmp_path_factory.mktemp("targets"))
    tasks = tasks_of_every_kind(place)
    tasks = [task | {"head": "native"} if task["name"] in NATIVE else task for task in tasks]
    rules = [{"match": "**", "state": "trainable"}]
    spec = toy_spec(place, task=tasks, rule=rules, optimizer={"lr": 2e-3}, train={"epochs": 1})
    return train(spec, place / "run").folder


@pytest.mark.parametrize("task", NATIVE)
def test_the_stock_model_gives_the_answers_and_names_its_kind(run: Path, tmp_path: Path, task: str) -> None:
    found = export(run, "transformers", tmp_path / "out", task=task)
    assert found.loads_as == "BertForSequenceClassification" and found.difference <= 1e-6
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert model.config.problem_type == NATIVE[task]
    given = list(zip(TEXTS, reversed(TEXTS), strict=True)) if task == "pair" else TEXTS
    sides = [list(side) for side in zip(*given, strict=True)] if task == "pair" else [TEXTS]
    batch = AutoTokenizer.from_pretrained(tmp_path / "out")(*sides, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
    if task == "said":
        logits = logits.sigmoid()
    if task == "pair":
        logits = logits.softmax(dim=1)
    answers = [answer[task] for answer in predict(run, given, Asked([task], probabilities=True))]
    assert numbers_of(answers, model.config.id2label, logits) == pytest.approx(
        logits.flatten().tolist(), abs=1e-5
    )


@pytest.mark.parametrize(
    ("form", "task", "reason"),
    [
        ("transformers", "alike", "the cosine of two vectors"),
        ("transformers", "compared", "its head reads the vectors of two texts"),
        ("sentence-transformers", "compared", "by their cosine, and the task `compared` by a head"),
    ],
)
def test_what_a_library_has_no_form_of_is_refused(
    run: Path, tmp_path: Path, form: str, task: str, reason: str
) -> None:
    with pytest.raises(DiagnosticError) as caught:
        export(run, form, tmp_path / "out", task=task)
    (found,) = caught.value.diagnostics
    assert found.code == "FP570" and reason in found.message
    assert list(tmp_path.iterdir()) == []


def numbers_of(answers: list[Any], labels: dict[int, str], logits: torch.Tensor) -> list[float]:
    """Return the numbers of answers in the order of the stock model's outputs."""
    found = [answer["values"] if "values" in answer else answer["probabilities"] for answer in answers]
    return [values[labels[place]] for values in found for place in range(logits.shape[1])]


@pytest.mark.parametrize("name", FORM_NAMES)
def test_every_form_takes_language_models_or_says_why_not(name: str) -> None:
    assert (FORMS[name].without_language == "") == (name == "transformers")
