"""Data that are unusual, and what is said of them: names that repeat, labels that cannot be told apart, long lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from freezeplan.data.labels import labels_of
from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.spec.tables import Spec

GOOD = [{"text": f"text {label}", "label": label} for label in ("app", "mail", "shop")]


def spec_of(*files: Path | str, labels: list[str] | None = None, **data: Any) -> Spec:
    task: dict[str, Any] = {"name": "t", "data": {"train": [str(file) for file in files]} | data}
    return Spec.model_validate({"task": [task | ({"labels": labels} if labels else {})]})


def found(spec: Spec) -> tuple[Diagnostic, ...]:
    try:
        return load_task_data(spec)[1]
    except DiagnosticError as error:
        return error.diagnostics


def shown(spec: Spec) -> Diagnostic:
    """Return what `show` says of the labels."""
    with pytest.raises(DiagnosticError) as caught:
        labels_of(spec)
    return caught.value.diagnostics[0]


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def twice() -> pyarrow.Table:
    columns = [pyarrow.array(["a", "b"]), pyarrow.array(["x", "y"]), pyarrow.array(["y", "x"])]
    return pyarrow.Table.from_arrays(columns, names=["text", "label", "label"])


def test_a_parquet_file_with_a_repeated_column_is_refused_like_a_csv_file(tmp_path: Path) -> None:
    parquet.write_table(twice(), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("text,label,label\na,x,y\n")
    for name in ("rows.parquet", "rows.csv"):
        for declared in (None, ["x", "y"]):
            (error,) = found(spec_of(tmp_path / name, labels=declared))
            assert error.message == f"`{name}` cannot be read: it has more than one column `label`"
        said = shown(spec_of(tmp_path / name))
        assert (said.code, said.help) == ("FP162", "rename the columns")


def test_a_repeated_column_that_no_task_reads_is_no_problem(tmp_path: Path) -> None:
    table = twice().rename_columns(["text", "other", "other"]).append_column("label", [["x", "y"]])
    parquet.write_table(table, tmp_path / "rows.parquet")
    assert not found(spec_of(tmp_path / "rows.parquet"))


def test_a_saved_folder_nested_without_end_is_refused(tmp_path: Path) -> None:
    datasets.Dataset.from_list(GOOD).save_to_disk(tmp_path / "rows")
    (tmp_path / "rows" / "state.json").write_text("[" * 100_000)
    (error,) = found(spec_of(tmp_path / "rows"))
    assert error.code == "FP455"
    assert "recursion" in error.message


def test_show_says_what_to_do_as_training_does(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("text,label\na,x\n".encode("utf-16"))
    assert shown(spec_of(path)).help == found(spec_of(path))[0].help == "save the file as UTF-8"
    lines(path.with_suffix(".jsonl"), [{"text": "a", "label": True}])
    assert shown(spec_of(path.with_suffix(".jsonl"))).help == "a label is text or a whole number"
    said = shown(spec_of(path.with_suffix(".jsonl"), label="topic"))
    assert said.help is not None
    assert "column that holds the labels" in said.help


@pytest.mark.parametrize("other", ["caf\u0065\u0301", "caf\u00e9\u200b", "\ufeffcaf\u00e9"])
def test_labels_that_look_alike_are_a_warning(tmp_path: Path, other: str) -> None:
    rows = [{"text": "a", "label": "caf\u00e9"}, {"text": "b", "label": other}, {"text": "c", "label": "tea"}]
    (warning,) = found(spec_of(lines(tmp_path / "rows.jsonl", rows)))
    assert warning.code == "FP475"
    assert "differ in what is not seen alone" in warning.message


def test_labels_that_look_different_are_none(tmp_path: Path) -> None:
    rows = [{"text": label, "label": label} for label in ("caf\u00e9", "cafe", "Caf\u00e9", "\u03b1", "a")]
    assert not found(spec_of(lines(tmp_path / "rows.jsonl", rows)))


def test_a_file_that_two_entries_take_in_is_a_warning(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", GOOD)
    lines(tmp_path / "b.jsonl", [{"text": "one more", "label": "app"}])
    (warning,) = found(spec_of(tmp_path / "a.jsonl", tmp_path / "*.jsonl"))
    assert (warning.code, warning.where) == ("FP482", "task[1].data.train")
    assert "`a.jsonl` is read more than once" in warning.message
    assert not found(spec_of(tmp_path / "*.jsonl"))


def test_files_of_one_name_in_two_folders_are_two_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        lines(tmp_path / name / "a.jsonl", GOOD)
    assert not found(spec_of(tmp_path / "*" / "a.jsonl"))


def test_rows_that_share_a_line_are_named_by_their_number(tmp_path: Path) -> None:
    rows = [*GOOD, {"text": " ", "label": "app"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (error,) = found(spec_of(tmp_path / "rows.json"))
    assert error.message == "column `text` of `rows.json` holds blank text in row 4"
    first = lines(tmp_path / "first.jsonl", GOOD)
    (error,) = found(spec_of(first, tmp_path / "rows.json"))
    assert error.message.endswith("holds blank text in row 4 of `rows.json`")
    (tmp_path / "rows.json").write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "]")
    (error,) = found(spec_of(tmp_path / "rows.json"))
    assert error.message.endswith("holds blank text in line 5")


def test_what_stands_in_the_data_takes_one_short_line_of_a_message(tmp_path: Path) -> None:
    train = lines(tmp_path / "train.jsonl", GOOD)
    odd = [{"text": f"text {label[:3]}", "label": label} for label in ("x" * 100_000, "y\nerror[FP999]: no")]
    for rows in (odd, odd[:1], odd[1:]):
        test = lines(tmp_path / "test.jsonl", rows)
        (error,) = found(spec_of(train, test=[str(test)]))
        assert error.code == "FP459"
        assert "\n" not in error.message
        assert len(error.message) < 1000
        assert all("\n" not in note and len(note) < 1000 for note in error.notes)


def test_a_first_line_of_text_in_the_place_of_a_header_is_not_quoted_whole(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("word " * 50_000 + ",app\nmore,web\n")
    for error in found(spec_of(tmp_path / "rows.csv")):
        assert len(error.message) + len(error.help or "") < 1000
    assert len(shown(spec_of(tmp_path / "rows.csv")).message) < 1000
