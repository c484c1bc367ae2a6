"""Test rows without labels are predicted at the end of a run; rows that have them in part are an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.runs.events import EpochDone, Predicted, Working
from freezeplan.runs.run_files import PREDICTIONS, SCORES
from freezeplan.runs.verify import verify_run
from freezeplan.spec.tables import Spec
from freezeplan.train.examining import AskedRows, evaluate_run
from freezeplan.train.extracting import extract
from freezeplan.train.predict import Asked, predict_file
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from tests.train.kinds import of_images, write_images
from tests.train.phased import HEADS_ONLY, assert_same_tree
from tests.train.targets import tasks_of_every_kind, write_targets
from tests.train.test_run import interrupt_at
from tests.train.tiny import toy_spec, write_jsonl

GIVEN = ("text", "other", "tokens")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny model and rows, the test rows without any target; no test may change it."""
    folder = write_targets(tmp_path_factory.mktemp("targets"))
    table = [json.loads(line) for line in (folder / "test.jsonl").read_text("utf-8").splitlines()]
    write_jsonl(folder / "test.jsonl", [{key: row[key] for key in GIVEN} for row in table])
    return folder


def spec_of(rows: Path) -> Spec:
    tasks = [
        task for task in tasks_of_every_kind(rows) if task["data"].get("label") or "tags" in task["data"]
    ]
    return toy_spec(rows, rule=HEADS_ONLY, task=tasks, train={"epochs": 2, "batch_size": 32})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def run(rows: Path) -> Path:
    """Return a finished run over them."""
    seen: list[Any] = []
    result = train(spec_of(rows), rows / "run", seen.append)
    assert [item.rows["topic"] for item in seen if isinstance(item, Predicted)] == [16]
    assert result.test == {} and "FP487" in {item.code for item in result.diagnostics}
    return result.folder


def test_every_kind_is_predicted_as_predict_does(rows: Path, run: Path) -> None:
    names = [task.name for task in spec_of(rows).task]
    assert sorted(path.stem for path in (run / PREDICTIONS).iterdir()) == sorted(names)
    for name in names:
        expected = list(predict_file(run, rows / "test.jsonl", None, Asked([name])))
        found = lines(run / PREDICTIONS / f"{name}.jsonl")
        assert [row.pop("row") for row in found] == list(range(1, 17))
        assert_alike(found, expected)
    assert list(json.loads((run / SCORES).read_text("utf-8"))) == ["validation"]
    assert verify_run(run).holds and not verify_run(run).diagnostics


def assert_alike(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_alike(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_alike(*pair)
    else:
        assert one == (pytest.approx(other, abs=1e-4) if isinstance(other, float) else other)


def test_there_is_nothing_to_evaluate(run: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        evaluate_run(run, tasks=["topic"])
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == ("FP576", "there are no labels for `topic` in test")
    assert found.notes == ("`test.jsonl` has no labels: column `topic` is not there, or empty in every row",)


def test_images_without_labels_are_predicted_by_their_paths(toy: Path, tmp_path: Path) -> None:
    place = tmp_path / "toy"
    place.mkdir()
    write_images(place)
    table = lines(place / "images" / "test.jsonl")
    write_jsonl(place / "images" / "test.jsonl", [{"file": row["file"]} for row in table])
    run = train(of_images(place), tmp_path / "run").folder
    found = lines(run / PREDICTIONS / "shade.jsonl")
    assert [Path(row["image"]).name for row in found] == [row["file"] for row in table]
    assert {row["shade"]["label"] for row in found} <= {"dark", "light"}
    extract(run, tmp_path / "a.parquet")
    vectors = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["label.shade"] for row in vectors if row["split"] == "test"] == [None] * len(table)
    assert evaluate_run(run, AskedRows("validation")).tasks["shade"]["rows"] == 8


@pytest.mark.parametrize("kind", [EpochDone, Working])
def test_a_stop_before_or_while_they_are_predicted_changes_nothing(
    rows: Path, run: Path, tmp_path: Path, kind: type
) -> None:
    def here(event: Any) -> bool:
        return isinstance(event, kind) and (kind is EpochDone or event.what.startswith("predicting"))

    stopped = train(spec_of(rows), tmp_path / "run", interrupt_at(here, []))
    assert stopped.status == "interrupted" and not (tmp_path / "run" / PREDICTIONS).exists()
    assert resume(tmp_path / "run").status == "finished"
    assert_same_tree(tmp_path / "run", run)


def loaded(folder: Path, values: list[Any], kind: str = "classification", suffix: str = ".jsonl") -> Any:
    """Read training rows with labels, and test rows with those values, None for no column."""
    labels = [1.0, 2.5] if kind == "regression" else ["a", "b"]
    write_jsonl(folder / "train.jsonl", [{"text": f"train {name}", "label": name} for name in labels])
    table = [{"text": f"test {number}", "label": value} for number, value in enumerate(values)]
    test = folder / f"test{suffix}"
    if suffix == ".csv":
        test.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in table))
    else:
        write_jsonl(test, table)
    data = {"train": str(folder / "train.jsonl"), "test": str(test)}
    spec = Spec.model_validate({"task": [{"name": "t", "kind": kind, "data": data}]})
    return load_task_data(spec)


@pytest.mark.parametrize(
    ("values", "kind", "suffix"),
    [
        ([None, None], "classification", ".jsonl"),
        ([-1, -1], "classification", ".jsonl"),
        (["", ""], "classification", ".csv"),
        ([-1, -1], "classification", ".csv"),
        ([None, None], "regression", ".jsonl"),
        ([-1.0, -1], "regression", ".jsonl"),
        (["", ""], "regression", ".csv"),
    ],
)
def test_labels_that_are_kept_to_themselves_are_none(
    tmp_path: Path, values: list[Any], kind: str, suffix: str
) -> None:
    (task,), notes = loaded(tmp_path, values, kind, suffix)
    assert list(task.splits) == ["train"] and len(task.unlabelled["test"]) == 2
    (note,) = notes
    assert (note.code, note.severity) == ("FP487", "note")
    assert note.message.startswith(f"`test{suffix}` has no labels: column `label` ")


@pytest.mark.parametrize(
    ("values", "kind", "code", "message"),
    [
        (["a", None, "b"], "classification", "FP458", "holds null (no label) in line 2"),
        (["a", -1, "b"], "classification", "FP459", "has the label `-1` (line 2)"),
        ([1.0, None], "regression", "FP458", "holds null (no number) in line 2"),
    ],
)
def test_labels_in_part_are_an_error_with_their_lines(
    tmp_path: Path, values: list[Any], kind: str, code: str, message: str
) -> None:
    with pytest.raises(DiagnosticError) as caught:
        loaded(tmp_path, values, kind)
    found: Diagnostic = caught.value.diagnostics[0]
    assert found.code == code and message in found.message


def test_numbers_that_training_knows_are_numbers(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [{"text": "a", "label": -1}, {"text": "b", "label": 2}])
    write_jsonl(tmp_path / "test.jsonl", [{"text": "c", "label": -1}])
    data = {"train": str(tmp_path / "train.jsonl"), "test": str(tmp_path / "test.jsonl")}
    for kind in ("classification", "regression"):
        spec = Spec.model_validate({"task": [{"name": "t", "kind": kind, "data": data}]})
        (task,), _ = load_task_data(spec)
        assert list(task.splits) == ["train", "test"]


def test_a_column_that_one_of_several_files_lacks_stays_an_error(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}])
    write_jsonl(tmp_path / "one.jsonl", [{"text": "c", "label": "x"}])
    write_jsonl(tmp_path / "two.jsonl", [{"text": "d"}])
    files = [str(tmp_path / name) for name in ("one.jsonl", "two.jsonl")]
    data = {"train": str(tmp_path / "train.jsonl"), "test": files}
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(Spec.model_validate({"task": [{"name": "t", "data": data}]}))
    assert caught.value.diagnostics[0].message == "`two.jsonl` has no column `label`"
