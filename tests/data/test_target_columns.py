"""Target columns that are no labels: what they may hold, and the lines of what they may not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from freezeplan.data.labels import labels_of
from freezeplan.data.task_rows import TaskData, load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.spec.tables import Spec
from tests.train.tiny import write_jsonl


def spec_of(folder: Path, kind: str, label: Any, train: str = "train.jsonl", **more: Any) -> Spec:
    data = {"train": str(folder / train), "label": label}
    return Spec.model_validate({"task": [{"name": "t", "kind": kind, "data": data} | more]})


def load(folder: Path, kind: str, label: Any, rows: list[Any]) -> tuple[TaskData, tuple[Diagnostic, ...]]:
    write_jsonl(folder / "train.jsonl", rows)
    tasks, warnings = load_task_data(spec_of(folder, kind, label))
    return tasks[0], warnings


def only_error(folder: Path, kind: str, label: Any, rows: list[Any]) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load(folder, kind, label, rows)
    (found,) = caught.value.diagnostics
    return found


def numbered(values: list[Any], name: str = "score") -> list[dict[str, Any]]:
    return [{"text": f"text {number}", name: value} for number, value in enumerate(values)]


def test_numbers_are_read_as_they_are_from_every_format(tmp_path: Path) -> None:
    task, warnings = load(tmp_path, "regression", "score", numbered([1, -2.5, "3.25", " 1e2 "]))
    assert (task.labels, warnings) == (("score",), ())
    assert task.targets("train").tolist() == [[1.0], [-2.5], [3.25], [100.0]]
    (tmp_path / "a.csv").write_text("text,x,y\nfirst,1,-0.5\nsecond,2,+.5\n")
    (task,), _ = load_task_data(spec_of(tmp_path, "regression", ["y", "x"], "a.csv"))
    assert task.labels == ("y", "x")
    assert task.targets("train").tolist() == [[-0.5, 1.0], [0.5, 2.0]]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "null (no number)"),
        ("", "no number (blank)"),
        ("many", "text that is no number"),
        ("1_0", "text that is no number"),
        ("nan", "text that is no number"),
        (True, "true or false"),
        ([1], "a list"),
        (1e39, "a number beyond 32 bits"),
        ("-1e999", "a number beyond 32 bits"),
        (10**400, "a number beyond 32 bits"),
    ],
)
def test_what_is_no_number_is_refused_with_its_line(tmp_path: Path, value: Any, what: str) -> None:
    found = only_error(tmp_path, "regression", "score", numbered([1, value, 2]))
    assert (found.code, found.help) == ("FP458", "every row needs a number")
    assert found.message == f"column `score` of `train.jsonl` holds {what} in line 2"


def test_nan_in_json_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a", "score": 1}\n{"text": "b", "score": NaN}\n')
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(spec_of(tmp_path, "regression", "score"))
    assert caught.value.diagnostics[0].code in ("FP455", "FP458")


def test_numbers_that_never_change_teach_nothing(tmp_path: Path) -> None:
    found = only_error(tmp_path, "regression", "score", numbered([2, 2.0, "2"]))
    assert found.code == "FP460"
    assert "has the number 2 in column `score`" in found.message


def test_a_column_of_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = only_error(tmp_path, "regression", ["score", "scores"], numbered([1, 2]))
    assert (found.code, found.where) == ("FP456", "task[1].data.label")
    assert "no column `scores`" in found.message


def test_the_outputs_of_a_regression_are_known_without_data() -> None:
    spec = Spec.model_validate(
        {
            "task": [
                {
                    "name": "t",
                    "kind": "regression",
                    "data": {"train": "nowhere.jsonl", "label": ["x", "y"]},
                }
            ]
        }
    )
    assert labels_of(spec) == {"t": ("x", "y")}


def test_a_regression_without_data_has_one_output() -> None:
    spec = Spec.model_validate({"task": [{"name": "t", "kind": "regression"}]})
    assert labels_of(spec) == {"t": ("label",)}


def test_the_same_column_can_be_classes_and_numbers(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", numbered([1, 2, 1, 3], "stars"))
    data = {"train": str(tmp_path / "train.jsonl"), "label": "stars"}
    tasks = [{"name": "a", "data": data}, {"name": "b", "kind": "regression", "data": data}]
    found, _ = load_task_data(Spec.model_validate({"task": tasks}))
    assert [task.labels for task in found] == [("1", "2", "3"), ("stars",)]
    assert json.loads(json.dumps(found[1].targets("train").tolist())) == [[1.0], [2.0], [1.0], [3.0]]


def test_lists_of_labels_are_read_with_empty_ones(tmp_path: Path) -> None:
    task, warnings = load(tmp_path, "multi_label", "tags", numbered([["b", "a"], [], ["c", 1]], "tags"))
    assert (task.labels, warnings) == (("1", "a", "b", "c"), ())
    assert task.targets("train").tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]]


def test_columns_of_flags_are_labels_in_the_order_of_the_spec(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,x,y\nfirst,1,False\nsecond,0,TRUE\n")
    (task,), warnings = load_task_data(spec_of(tmp_path, "multi_label", ["y", "x"], "a.csv"))
    assert (task.labels, warnings) == (("y", "x"), ())
    assert task.targets("train").tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "null (no list)"),
        ("a", "text"),
        (1, "a number"),
        (["a", "a"], "a list with a label twice"),
        (["1", 1], "a list with a label twice"),
        (["a", None], "a list with null (no label)"),
        (["a", ["b"]], "a list with a list"),
        (["a", " "], "a list with no label (blank)"),
    ],
)
def test_what_is_no_list_of_labels_is_refused_with_its_line(tmp_path: Path, value: Any, what: str) -> None:
    found = only_error(tmp_path, "multi_label", "tags", numbered([["a"], value, ["b"]], "tags"))
    assert (found.code, found.where) == ("FP458", "task[1].data.train")
    assert found.message == f"column `tags` of `train.jsonl` holds {what} in line 2"


@pytest.mark.parametrize("value", [None, 2, "yes", 0.5, [1]])
def test_what_is_no_flag_is_refused_with_its_line(tmp_path: Path, value: Any) -> None:
    rows = [{"text": f"t{number}", "x": flag, "y": 1} for number, flag in enumerate([0, value, 1])]
    found = only_error(tmp_path, "multi_label", ["x", "y"], rows)
    assert found.code == "FP458" and found.message.endswith("in line 2")


def test_labels_that_are_unknown_or_never_seen_are_said(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", numbered([["a"], ["a", "z"], []], "tags"))
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(spec_of(tmp_path, "multi_label", "tags", labels=["a", "b"]))
    (found,) = caught.value.diagnostics
    assert found.code == "FP459" and "the label `z` (line 2)" in found.message
    _, (warning,) = load_task_data(spec_of(tmp_path, "multi_label", "tags", labels=["a", "b", "z"]))
    assert warning.code == "FP461" and "`b`" in warning.message
    rows = [{"text": f"t{number}", "x": 0, "y": number} for number in range(2)]
    _, (warning,) = load(tmp_path, "multi_label", ["x", "y"], rows)
    assert warning.code == "FP461" and "`x`" in warning.message


def test_rows_without_any_label_teach_nothing(tmp_path: Path) -> None:
    assert only_error(tmp_path, "multi_label", "tags", numbered([[], []], "tags")).code == "FP460"
    rows = [{"text": f"t{number}", "x": 0, "y": 0} for number in range(2)]
    assert only_error(tmp_path, "multi_label", ["x", "y"], rows).code == "FP460"


def test_class_numbers_in_lists_are_read_as_their_names(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "tags": [ClassLabel(names=["x", "y", "z"])]})
    rows = {"text": ["a", "b"], "tags": [[2, 0], []]}
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    for name in ("a.parquet", "saved"):
        (task,), _ = load_task_data(spec_of(tmp_path, "multi_label", "tags", name))
        assert task.labels == ("x", "z")
        assert task.targets("train").tolist() == [[1, 1], [0, 0]]


def alike(folder: Path, scores: list[Any], **more: Any) -> Spec:
    rows = [{"a": f"one {number}", "b": "other", "score": score} for number, score in enumerate(scores)]
    write_jsonl(folder / "train.jsonl", rows)
    data = {"train": str(folder / "train.jsonl"), "text": "a", "text_pair": "b", "label": "score"}
    return Spec.model_validate({"task": [{"name": "t", "kind": "similarity", "data": data} | more]})


def test_scores_are_divided_by_the_highest_that_the_task_names(tmp_path: Path) -> None:
    (task,), warnings = load_task_data(alike(tmp_path, [5, 2.5, 0], max_score=5.0))
    assert (task.labels, warnings) == (("score",), ())
    assert task.targets("train").tolist() == [[1.0], [0.5], [0.0]]


def test_scores_that_no_cosine_can_be_are_refused_with_their_lines(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(alike(tmp_path, [1, 2.5, -0.5, 4]))
    (found,) = caught.value.diagnostics
    assert found.code == "FP458"
    assert found.message == "`train.jsonl` has scores beyond max_score = 1 in lines 2 and 4"
    assert found.help is not None and "max_score = 4" in found.help
