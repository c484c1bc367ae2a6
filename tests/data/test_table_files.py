"""A file of rows is whole or not there, and holds what was given in each of its forms."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from freezeplan.data import table_files
from freezeplan.data.table_files import new_table
from freezeplan.diagnostics import DiagnosticError

ROWS: list[dict[str, Any]] = [
    {
        "text": 'a, "b"\nc',
        "topic": {"label": "x", "score": 0.5, "probabilities": {"x": 0.5, "y": 0.5}},
        "said": {"labels": [], "scores": []},
        "ner": {"tags": ["B-x", None], "scores": [0.5, None], "spans": [{"type": "x", "start": 0, "end": 1}]},
        "count": 3,
    },
    {
        "text": "é",
        "topic": {"label": "y", "score": 1.0, "probabilities": {"x": 0.0, "y": 1.0}},
        "said": {"labels": ["p"], "scores": [0.75]},
        "ner": {"tags": [], "scores": [], "spans": []},
        "count": 4,
    },
]
FLAT = [
    "text",
    *(f"topic.{name}" for name in ("label", "score", "probabilities.x", "probabilities.y")),
    *("said.labels", "said.scores", "ner.tags", "ner.scores", "ner.spans", "count"),
]


def write(path: Path, **more: Any) -> Path:
    with new_table(path, **more) as table:
        for row in ROWS:
            table.add(row)
    return path


def refusal(path: Path, **more: Any) -> str:
    with pytest.raises(DiagnosticError) as caught:
        write(path, **more)
    (found,) = caught.value.diagnostics
    assert found.code == "FP577" and found.help
    return found.message.replace(str(path), "FILE")


def test_lines_of_json_are_the_rows(tmp_path: Path) -> None:
    text = write(tmp_path / "a.jsonl").read_text("utf-8")
    assert [json.loads(line) for line in text.splitlines()] == ROWS and "é" in text


def test_columns_of_csv_are_named_by_the_keys_with_dots(tmp_path: Path) -> None:
    with open(write(tmp_path / "a.csv"), encoding="utf-8", newline="") as file:
        header, first, second = csv.reader(file)
    assert header == FLAT
    assert first == [
        'a, "b"\nc',
        "x",
        "0.5",
        "0.5",
        "0.5",
        "[]",
        "[]",
        '["B-x", null]',
        "[0.5, null]",
        *first[-2:],
    ]
    assert json.loads(first[-2]) == ROWS[0]["ner"]["spans"] and second[0] == "é"


@pytest.mark.parametrize("group", [1, 2, 1000])
def test_columns_of_parquet_have_types_that_no_group_of_rows_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    monkeypatch.setattr(table_files, "BATCH", group)
    table = parquet.read_table(write(tmp_path / "a.parquet"))
    assert table.column_names == FLAT
    assert table["said.labels"].to_pylist() == [[], ["p"]] and table["said.scores"].to_pylist() == [
        [],
        [0.75],
    ]
    assert table["ner.tags"].to_pylist() == [["B-x", None], []]
    assert [json.loads(text) for text in table["ner.spans"].to_pylist()] == [ROWS[0]["ner"]["spans"], []]
    assert table["count"].to_pylist() == [3, 4] and table["topic.score"].to_pylist() == [0.5, 1.0]


def test_what_is_there_is_not_overwritten_silently(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("mine")
    assert refusal(file) == "`FILE` is there already" and file.read_text() == "mine"
    assert write(file, overwrite=True).read_text("utf-8").count("\n") == 2
    (tmp_path / "b.csv").mkdir()
    assert refusal(tmp_path / "b.csv", overwrite=True) == "`FILE` is a folder"
    assert refusal(tmp_path / "a.xlsx") == "the ending of `FILE` names no form that is written"
    assert refusal(tmp_path / "no" / "a.csv") == "`FILE` cannot be written: its folder does not exist"


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_stop_leaves_nothing_or_what_was_there(tmp_path: Path, name: str, error: type) -> None:
    file = tmp_path / name
    for before in (None, "mine"):
        if before is not None:
            file.write_text(before)
        with pytest.raises((error, DiagnosticError)), new_table(file, overwrite=True) as table:
            table.add(ROWS[0])
            assert [item.name for item in tmp_path.iterdir() if item.name.startswith(f".{name}.partial")] or (
                name == "a.parquet"
            )
            raise error(28, "No space left on device")
        assert [item.name for item in tmp_path.iterdir()] == ([] if before is None else [name])
        assert before is None or file.read_text() == before


def test_no_row_is_a_file_too(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        with new_table(tmp_path / name):
            pass
        assert (tmp_path / name).exists()
    assert parquet.read_table(tmp_path / "a.parquet").num_rows == 0
