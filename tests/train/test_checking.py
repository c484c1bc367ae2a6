"""What ``check --data`` says before a run is what the run says: the same rows, labels, counts and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freezeplan.cli.check import verdicts_of
from freezeplan.cli.compiling import compiled_spec
from freezeplan.data.labels import labels_of
from freezeplan.data.row_counts import rows_of
from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.events import RunStarted
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.checking import DataRead, check_data
from freezeplan.train.run import train
from tests.train.tiny import save_tiny_bert, tiny_tokenizer, toy_spec, write_jsonl, write_toy_data


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    save_tiny_bert(folder / "bert")
    write_toy_data(folder)
    return folder


def checked(spec: Spec) -> DataRead:
    return check_data(spec, compiled_spec(spec).plan)


def codes_of(call: Callable[[], Any]) -> list[str]:
    with pytest.raises(DiagnosticError) as caught:
        call()
    return [item.code for item in caught.value.diagnostics]


def one_task(toy: Path, train_file: Path, **more: Any) -> Spec:
    data = {"train": str(train_file), "label": "label"}
    return toy_spec(toy, task=[{"name": "t", "data": data, "labels": ["a", "b"]}], **more)


def test_it_counts_the_rows_that_show_and_train_see(toy: Path, tmp_path: Path) -> None:
    spec, seen = load_spec(toy_spec(toy, train={"epochs": 1, "max_length": 6})), []
    found = checked(spec)
    result = train(spec, tmp_path / "run", seen.append)
    started = next(event for event in seen if isinstance(event, RunStarted))
    counts = {
        name: {split: item.rows for split, item in splits.items()} for name, splits in found.tasks.items()
    }
    assert counts == {name: dict(rows) for name, rows in started.rows.items()}
    assert rows_of(spec).counts == {name: rows["train"] for name, rows in counts.items()}
    record = json.loads((tmp_path / "run" / "run.json").read_text())["tasks"]
    assert {name: tuple(task["labels"]) for name, task in record.items()} == labels_of(spec)
    cuts = [item.message for item in found.diagnostics if item.code == "FP477"]
    assert cuts == [item.message for item in result.diagnostics if item.code == "FP477"] != []
    assert f"{found.tasks['topic']['train'].cut} of 96 texts of `train.jsonl` are cut at 6 tokens" in cuts


FAULTS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "a blank text": ("FP457", [{"text": "box", "label": "a"}, {"text": " ", "label": "b"}]),
    "an unknown label": ("FP459", [{"text": "box", "label": "a"}, {"text": "my box", "label": "c"}]),
    "one class": ("FP460", [{"text": "box", "label": "a"}, {"text": "my box", "label": "a"}]),
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_train_refuses_it_refuses(toy: Path, tmp_path: Path, what: str) -> None:
    code, rows = FAULTS[what]
    spec = load_spec(one_task(toy, write_jsonl(tmp_path / "rows.jsonl", rows)))
    found = codes_of(lambda: checked(spec))
    assert found == codes_of(lambda: train(spec, tmp_path / "run")) and found[-1] == code


def test_tokens_beyond_the_embedding_are_found_without_weights(toy: Path, tmp_path: Path) -> None:
    model = save_tiny_bert(tmp_path / "bert")
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["brandnew"])
    tokenizer.save_pretrained(model)
    rows = [{"text": "my box", "label": "a"}, {"text": "brandnew box", "label": "b"}]
    spec = load_spec(one_task(tmp_path, write_jsonl(tmp_path / "rows.jsonl", rows)))
    (model / "model.safetensors").unlink()
    with pytest.raises(DiagnosticError) as caught:
        checked(spec)
    (found,) = caught.value.diagnostics
    assert (found.code, found.where) == ("FP457", "task[1].data.train")
    assert "line 2" in found.message and "`brandnew`" in found.notes[0]


def test_a_verdict_counts_rows_and_a_fault_fails_it(toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    rows = [{"text": "my box", "label": "a"}, {"text": "the box", "label": "b"}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    path.write_text(
        f'[model]\nsource = "{toy / "bert"}"\n[[rule]]\nmatch = "**"\nstate = "trainable"\n'
        '[[task]]\nname = "t"\nlabels = ["a", "b"]\n[task.data]\ntrain = "rows.jsonl"\n'
    )
    (good,) = verdicts_of(path, [None], strict=False, with_data=True)
    assert (good.status, good.detail.endswith("train; t: 2 train rows")) == (0, True)
    write_jsonl(tmp_path / "rows.jsonl", [*rows, {"text": None, "label": "a"}])
    (bad,) = verdicts_of(path, [None], strict=False, with_data=True)
    assert (bad.status, [item.code for item in bad.diagnostics]) == (1, ["FP415", "FP457"])
    assert bad.diagnostics[1].span is not None and bad.diagnostics[1].span.line == 10
    (unread,) = verdicts_of(path, [None], strict=False)
    assert unread.status == 0


def test_what_another_trainer_reports_is_refused_where_it_is_named(toy: Path) -> None:
    until = {"metric": "eval_spearman", "mode": "max", "patience": 1, "max_epochs": 2}
    spec = load_spec(toy_spec(toy, phase=[{"name": "wait", "until": until}], train={"batch_size": 8}))
    with pytest.raises(DiagnosticError, match="FP133.*never measures it"):
        checked(spec)
