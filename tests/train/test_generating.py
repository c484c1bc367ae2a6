"""What a language model of a run goes on with is what transformers generates, and its export is the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from click.testing import CliRunner

import freezeplan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.export.exporting import export
from freezeplan.train.predict import Asked, predict, predict_file
from freezeplan.train.run import train
from tests.train.language import (
    MESSAGES,
    PROMPT,
    TEXT,
    TURNS,
    language_spec,
    language_task,
    save_language_model,
    write_language_data,
)
from tests.train.tiny import toy_data

RULES = [{"match": "**", "state": "trainable"}]
TABLE = {"epochs": 3, "batch_size": 8}
TEXTS = ["the box", "my parcel is here now", "so"]
FORMS = {"text": ("gpt2", TEXT), "prompt": ("llama", PROMPT), "messages": ("qwen3", MESSAGES)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with rows and models; no test may change it."""
    folder = write_language_data(tmp_path_factory.mktemp("language"))
    for kind, _ in FORMS.values():
        save_language_model(folder / kind, kind, TURNS)
    return folder


@pytest.fixture(scope="module")
def runs(place: Path) -> dict[str, Path]:
    """Return a finished run of each form of rows."""
    return {
        form: train(
            language_spec(place, place / kind, columns, rule=RULES, optimizer={"lr": 1e-2}, train=TABLE),
            place / f"run-{form}",
        ).folder
        for form, (kind, columns) in FORMS.items()
    }


def generated(folder: Path, text: str, most: int) -> str:
    """Return what transformers generates from an export, one text at a time."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        found = model.generate(**batch, max_new_tokens=most, do_sample=False, pad_token_id=0)
    return tokenizer.decode(found[0, batch["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.mark.parametrize("form", FORMS)
def test_an_export_gives_the_logits_of_the_run_and_its_completions(
    runs: dict[str, Path], tmp_path: Path, form: str
) -> None:
    found = export(runs[form], "transformers", tmp_path / "out")
    assert found.difference <= 1e-6 and found.rows == 16
    answers = list(predict(runs[form], TEXTS, Asked(max_new_tokens=6)))
    asked = [f"<|user|>{text}<|end|><|assistant|>" for text in TEXTS] if form == "messages" else TEXTS
    assert [answer["story"]["completion"] for answer in answers] == [
        generated(tmp_path / "out", text, 6) for text in asked
    ]
    assert [answer[form] for answer in answers] == TEXTS


def test_other_forms_have_no_language_models(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match="FP570"):
        export(runs["text"], "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_completions_end_at_the_end_token_and_at_the_last_position(runs: dict[str, Path]) -> None:
    run = freezeplan.load_run(runs["prompt"])
    (long,) = run.predict(["the box is here"], max_new_tokens=500)
    tokenizer = run._saved.encoder.tokenizer
    assert len(tokenizer(long["story"]["completion"])["input_ids"]) <= 60
    (short,) = run.predict(["the box is here"], max_new_tokens=1)
    assert long["story"]["completion"].startswith(short["story"]["completion"])


def test_a_conversation_goes_on_after_what_the_user_said_last(runs: dict[str, Path], place: Path) -> None:
    talk: list[dict[str, Any]] = [{"role": "user", "content": "the box"}]
    answered = [*talk, {"role": "assistant", "content": "is here"}]
    alone, same, text = (answer["story"] for answer in predict(runs["messages"], [talk, answered, "the box"]))
    assert alone == same == text
    answers = list(predict_file(runs["messages"], place / "validation.jsonl", asked=Asked(max_new_tokens=3)))
    assert len(answers) == 16


@pytest.mark.parametrize(
    ("form", "given", "what"),
    [
        ("text", " ", "input 1 is blank text"),
        ("prompt", 3, "input 1 is a number"),
        ("text", "box " * 90, "there is no room for an answer"),
        ("messages", [], "input 1 is an empty list"),
        ("messages", [{"role": "assistant", "content": "a"}], "in which only the assistant speaks"),
    ],
)
def test_what_cannot_be_asked_is_refused(runs: dict[str, Path], form: str, given: Any, what: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        list(predict(runs[form], [given]))
    (found,) = caught.value.diagnostics
    assert found.code == "FP530" and what in found.message


def test_the_command_prints_completions(runs: dict[str, Path]) -> None:
    from freezeplan.cli.program import program

    found = CliRunner().invoke(program, ["predict", str(runs["text"]), "the box", "--max-new-tokens", "4"])
    assert found.exit_code == 0, found.output
    assert "story:" in found.output and "the box" in found.output


def test_a_language_model_is_asked_apart_from_other_tasks(place: Path, tmp_path: Path) -> None:
    data = toy_data(place, "topic")
    del data["test"]
    tasks = [language_task(place), {"name": "topic", "data": data}]
    result = train(
        language_spec(place, place / "gpt2", task=tasks, rule=RULES, train={"epochs": 1}), tmp_path / "run"
    )
    with pytest.raises(DiagnosticError, match="`story` of continued texts and `topic` of texts"):
        predict(result.folder, TEXTS)
    assert "label" in next(iter(predict(result.folder, TEXTS, Asked(["topic"]))))["topic"]
    assert "completion" in next(iter(predict(result.folder, TEXTS, Asked(["story"]))))["story"]
