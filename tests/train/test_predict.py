"""Predictions of a finished run, and folders that cannot give any."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertModel

from freezeplan.apply.fingerprints import fingerprints
from freezeplan.apply.tensors import weights
from freezeplan.data import row_blocks
from freezeplan.data.columns import TextsBuilder
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.train.predict import Asked, predict, predict_file
from freezeplan.train.run import train
from freezeplan.train.saved_run import load_run
from tests.runs.changing import change_tensors, reseal, tensors_file
from tests.train.tiny import toy_rows, toy_spec, write_jsonl

EVERYTHING = [{"match": "**", "state": "trainable"}, {"match": "backbone.pooler", "state": "frozen"}]


@pytest.fixture(scope="module")
def run(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that learned something; batches of prediction hold 4 texts."""
    table = {"epochs": 10, "batch_size": 8, "eval_batch_size": 4}
    out = tmp_path_factory.mktemp("predict") / "run"
    train(toy_spec(toy, rule=EVERYTHING, optimizer={"lr": 1e-2}, train=table), out)
    return out


def errors(work: Callable[[], Any]) -> tuple[Diagnostic, ...]:
    with pytest.raises(DiagnosticError) as caught:
        work()
    return caught.value.diagnostics


def test_every_text_gets_every_task_in_order(run: Path) -> None:
    rows = toy_rows(10, seed=99)
    answers = list(predict(run, (row["text"] for row in rows)))
    assert [list(answer) for answer in answers] == [["text", "topic", "mood"]] * 10
    assert [answer["text"] for answer in answers] == [row["text"] for row in rows]
    right = sum(answer["mood"]["label"] == row["mood"] for answer, row in zip(answers, rows, strict=True))
    assert right >= 8


def test_scores_are_the_softmax_of_the_heads_logits(run: Path) -> None:
    saved = load_run(run)
    (answer,) = predict(run, ["great parcel"])
    batch = saved.encoder.tokenizer(["great parcel"], return_tensors="pt")
    with torch.no_grad():
        logits = saved.model(
            task="topic", input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        )
    scores = logits.softmax(dim=1)[0]
    assert answer["topic"]["score"] == pytest.approx(float(scores.max()), abs=1e-6)
    assert answer["topic"]["label"] == saved.labels["topic"][int(scores.argmax())]


def test_the_batch_a_text_is_in_changes_nothing_but_rounding(run: Path) -> None:
    texts = [row["text"] for row in toy_rows(9, seed=5)]
    together = list(predict(run, texts))
    alone = [answer for text in texts for answer in predict(run, [text])]
    for one, other in zip(together, alone, strict=True):
        assert one["topic"]["label"] == other["topic"]["label"]
        assert one["topic"]["score"] == pytest.approx(other["topic"]["score"], abs=1e-5)


def test_the_backbone_runs_once_per_text_for_all_tasks(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, rows = BertModel.forward, []

    def counting(self: BertModel, *arguments: Any, **inputs: Any) -> Any:
        rows.append(len(inputs["input_ids"]))
        return forward(self, *arguments, **inputs)

    counting.__signature__ = __import__("inspect").signature(forward)
    monkeypatch.setattr(BertModel, "forward", counting)
    assert len(list(predict(run, [row["text"] for row in toy_rows(9, seed=3)]))) == 9
    assert rows == [4, 4, 1]


def test_answers_come_before_later_texts_are_read(run: Path) -> None:
    read = []
    answers = predict(run, (read.append(n) or f"box {n}" for n in range(100)))
    next(answers)
    assert len(read) == 4


def test_no_texts_give_no_answers(run: Path) -> None:
    assert list(predict(run, [])) == []


@pytest.mark.parametrize(
    ("bad", "what"),
    [(None, "null"), (3, "a number"), ("  ", "blank"), (["x"], "a list"), ("a \udc80", "surrogate")],
)
def test_inputs_that_are_not_text_are_named_by_number(run: Path, bad: Any, what: str) -> None:
    answers = predict(run, ["a box", "one", "two", "three", "four", bad])
    assert [next(answers)["text"] for _ in range(4)] == ["a box", "one", "two", "three"]
    (found,) = errors(lambda: next(answers))
    assert found.code == "FP530"
    assert "input 6" in found.message and what in found.message


def test_a_loaded_run_has_the_bits_that_training_ended_with(run: Path) -> None:
    saved = load_run(run)
    evidence = json.loads((run / "evidence.json").read_text())
    found = fingerprints(saved.model)
    assert {t["name"]: t["after"] for t in evidence["tensors"]} == found.parameters | found.buffers
    assert saved.model.training is False
    assert (saved.labels["mood"], saved.encoder.max_length, saved.record["status"]) == (
        ("bad", "good"),
        64,
        "finished",
    )


def test_what_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (first,) = errors(lambda: predict(tmp_path / "empty", ["x"]))
    (second,) = errors(lambda: predict(tmp_path / "none", ["x"]))
    assert (first.code, "has no `run.json`" in first.message) == ("FP520", True)
    assert (second.code, "no such folder" in second.message) == ("FP520", True)


def cut_weights(folder: Path) -> None:
    path = tensors_file(folder)
    path.write_bytes(path.read_bytes()[:-100])


def drop_head(folder: Path) -> None:
    change_tensors(folder, "heads.mood.linear.bias", lambda tensors: tensors.pop("heads.mood.linear.bias"))


def change_record(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        reseal(folder / "run.json", lambda run: run.update(values))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        cut_weights,
        drop_head,
        lambda folder: tensors_file(folder).unlink(),
        lambda folder: (folder / "tokenizer.json").write_text("{"),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "run.json").write_text('{"tasks": '),
        lambda folder: (folder / "run.json").write_text("[]"),
        change_record(format_version=99),
        change_record(max_length=None),
        change_record(tasks={}),
        change_record(pooling="median"),
        change_record(tasks={"topic": {"labels": ["a", "b", "c", "d"]}, "mood": {"labels": ["bad", "good"]}}),
        change_record(tasks={"a.b": {"labels": ["a", "b"]}}),
    ],
)
def test_damaged_runs_are_refused(run: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    damage(folder)
    (found,) = errors(lambda: predict(folder, ["x"]))
    assert (found.code, found.where, found.span) == ("FP521", None, None)


def test_tied_tensors_and_views_are_saved_once_and_whole(tmp_path: Path) -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})
    model["b"].weight = model["a"].weight
    model["b"].register_buffer("part", torch.arange(10.0)[2:5])
    model["b"].register_buffer("fleeting", torch.zeros(1), persistent=False)
    found = weights(model)
    assert sorted(found) == ["a.bias", "a.weight", "b.bias", "b.part"]
    save_file(found, tmp_path / "model.safetensors")
    assert load_file(tmp_path / "model.safetensors")["b.part"].tolist() == [2.0, 3.0, 4.0]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".csv.gz"])
def test_a_data_file_is_read_as_training_reads_it(run: Path, tmp_path: Path, suffix: str) -> None:
    texts = ["the great screen", "my parcel, is broken"]
    path, data = tmp_path / f"rows{suffix}", [{"id": "1", "body": text} for text in texts]
    if suffix == ".jsonl":
        content = "".join(json.dumps(row) + "\n" for row in data).encode()
    else:
        content = b"id,body\n" + "".join(f'1,"{text}"\n' for text in texts).encode()
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    assert list(predict_file(run, path, "body")) == list(predict(run, texts))
    with pytest.raises(DiagnosticError) as caught:
        list(predict_file(run, path))
    assert [item.code for item in caught.value.diagnostics] == ["FP456"]


def test_the_columns_of_a_file_are_those_of_the_runs_own_data(toy: Path, tmp_path: Path) -> None:
    rows = [
        {"said": row["text"], "heard": f"a {row['text']}", "mood": row["mood"]}
        for row in toy_rows(12, seed=3)
    ]
    file = write_jsonl(tmp_path / "rows.jsonl", rows)
    tasks = [
        {"name": name, "data": {"train": str(file), "text": column, "label": "mood"}}
        for name, column in (("one", "said"), ("other", "heard"))
    ]
    run = train(toy_spec(toy, task=tasks, train={"epochs": 1}), tmp_path / "run").folder
    answers = list(predict_file(run, file, None, Asked(["other"])))
    assert [answer["text"] for answer in answers] == [row["heard"] for row in rows]
    (found,) = errors(lambda: predict_file(run, file))
    assert found.code == "FP574" and found.message.endswith("`one` column `said`, `other` column `heard`")
    assert len(list(predict_file(run, file, "said"))) == 12


def test_memory_does_not_grow_with_the_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_blocks, "BLOCK", 8)
    file = write_jsonl(tmp_path / "rows.jsonl", toy_rows(100, seed=3))
    held: list[int] = []
    done = TextsBuilder.done

    def count(self: Any) -> Any:
        column = done(self)
        held.append(len(column.values))
        return column

    monkeypatch.setattr(TextsBuilder, "done", count)
    answers = predict_file(run, file)
    assert sum(held) == 100 and max(held) == 8
    assert next(answers)["text"] == toy_rows(1, seed=3)[0]["text"]
    assert sum(held) == 108
    assert len(list(answers)) == 99


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "a"}\n\n{"text": ""}\n{"text": 3}\n{"text": " "}\n', "blank text in lines 3 and 5"),
        ('[{"text": "a"}, {"text": ""}, {"text": " "}]', "blank text in rows 2 and 3"),
        ("[]", "has no rows"),
    ],
)
def test_rows_that_cannot_be_used_are_found_before_the_first_answer(
    run: Path, tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_blocks, "BLOCK", 2)
    path = tmp_path / "rows.json"
    path.write_text(text)
    found = errors(lambda: predict_file(run, path))
    assert message in found[0].message


def test_a_blank_row_of_a_data_file_is_named_by_its_line(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "box"}\n{"text": " "}\n')
    with pytest.raises(DiagnosticError, match="blank text in line 2"):
        list(predict_file(run, path))
