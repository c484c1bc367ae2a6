"""The labels of a task: written, read from its data, or taken from a run."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from freezeplan.data.labels import labels_of, sorted_labels
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.run_record import RunRecord, RunTask
from freezeplan.spec.tables import Spec

RUN = RunRecord({"topic": RunTask(("x", "y"))})


def spec_with(path: Path | None = None, **task: object) -> Spec:
    data = {"train": str(path), "label": "topic"} if path else None
    return Spec.model_validate({"task": [{"name": "topic", "data": data, **task}]})


FILES = {
    "rows.jsonl": '{"topic": "b", "text": "1"}\n\n{"topic": "a"}\n{"topic": "b"}\n',
    "numbers.jsonl": '{"topic": 10}\n{"topic": 2}\n',
    "marked.jsonl": '\ufeff{"topic": "a"}\n{"topic": "b"}\n',
    "rows.csv": 'text,topic\n"one, two\nthree",b\nfour,a\n',
    "rows.tsv": "text\ttopic\none\tb\ntwo\ta\n",
    "array.json": '[{"topic": "b"}, {"topic": "a"}]',
    "marked.json": '\ufeff[{"topic": "b"}, {"topic": "a"}]',
    "lines.json": '\ufeff{"topic": "b"}\n{"topic": "a"}\n',
    "long.csv": "text,topic\n" + "word " * 40_000 + ",b\nfour,a\n",
}


@pytest.mark.parametrize("name", FILES)
def test_labels_are_read_from_the_training_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name], "utf-8")
    expected = ("10", "2") if name == "numbers.jsonl" else ("a", "b")
    assert labels_of(spec_with(tmp_path / name)) == {"topic": expected}


def test_labels_are_read_from_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"topic": ["b", "a", "b"], "text": ["1", "2", "3"]}), path)
    assert labels_of(spec_with(path)) == {"topic": ("a", "b")}


def test_reading_labels_leaves_the_limit_of_the_csv_module_alone(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text(FILES["long.csv"], "utf-8")
    before = csv.field_size_limit()
    labels_of(spec_with(tmp_path / "long.csv"))
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"hub": "imdb", "train": "train"}, "hub dataset `imdb`, split `train`, cannot be loaded"),
        ({"train": "gone.parquet"}, "`gone.parquet` does not exist"),
        ({"train": __file__}, "has the suffix `.py`"),
        (None, "nothing here says"),
    ],
)
def test_unknown_labels_say_why(data: dict[str, str] | None, why: str) -> None:
    with pytest.raises(DiagnosticError, match=why) as caught:
        labels_of(Spec.model_validate({"task": [{"name": "topic", "data": data}]}))
    assert [item.code for item in caught.value.diagnostics] == ["FP161"]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("rows.jsonl", b"", "has no rows"),
        ("rows.csv", b"text,topic\n", "has no rows"),
        ("rows.json", b"[]", "has no rows"),
        ("rows.json", b"[1]", "`rows.json` cannot be read: line 1 is not a JSON object"),
        ("rows.json", b'[{"topic": ', "is not JSON"),
        ("rows.parquet", b"PAR1", "`rows.parquet` cannot be read"),
    ],
)
def test_whole_files_that_hold_no_labels(name: str, content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DiagnosticError, match=what) as caught:
        labels_of(spec_with(tmp_path / name))
    assert [item.code for item in caught.value.diagnostics] == ["FP162"]


def test_a_parquet_file_without_the_column_names_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"topik": ["b", "a"]}), path)
    with pytest.raises(DiagnosticError, match="no column `topic`; did you mean `topik`"):
        labels_of(spec_with(path))


def test_written_labels_win_and_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(FILES["rows.jsonl"], "utf-8")
    assert labels_of(spec_with(tmp_path / "rows.jsonl", labels=["z", "a"])) == {"topic": ("z", "a")}


def test_a_run_says_what_the_data_cannot(tmp_path: Path) -> None:
    assert labels_of(spec_with(), RUN.labels) == {"topic": ("x", "y")}
    assert labels_of(spec_with(tmp_path / "missing.jsonl"), RUN.labels) == {"topic": ("x", "y")}
    assert labels_of(spec_with(tmp_path / "rows.parquet"), RUN.labels) == {"topic": ("x", "y")}


def test_a_new_task_beside_a_run_has_its_own_labels() -> None:
    spec = Spec.model_validate({"task": [{"name": "other", "labels": ["1", "2"]}]})
    assert labels_of(spec, RUN.labels) == {"other": ("1", "2")}


WRONG = {
    "FP161": (None, {}),
    "FP163": ('{"topic": "a"}\n', {}),
    "FP165": ('{"topic": "a"}\n{"topic": "b"}\n', {}),
}
UNREADABLE = {
    "no json": '{"topic": "a"}\n{"topic"\n',
    "no object": '["topic"]\n',
    "no column": '{"topik": "a"}\n',
    "null": '{"topic": "a"}\n{"topic": null}\n',
    "empty": '{"topic": ""}\n',
    "list": '{"topic": ["a"]}\n',
    "deep": "[" * 100_000 + "\n",
}


@pytest.mark.parametrize("code", WRONG)
def test_labels_that_make_no_head(code: str, tmp_path: Path) -> None:
    text, task = WRONG[code]
    if text is not None:
        (tmp_path / "rows.jsonl").write_text(text, "utf-8")
    spec = spec_with(tmp_path / "rows.jsonl" if text else None, **task)
    with pytest.raises(DiagnosticError) as caught:
        labels_of(spec, RUN.labels if code == "FP165" else {})
    assert [item.code for item in caught.value.diagnostics] == [code]


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_rows_name_their_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(text, "utf-8")
    with pytest.raises(DiagnosticError) as caught:
        labels_of(spec_with(tmp_path / "rows.jsonl"))
    (problem,) = caught.value.diagnostics
    assert problem.code == "FP162"
    assert "`rows.jsonl`" in problem.message
    assert f"line {text.count(chr(10))}" in problem.message or "no column `topic`" in problem.message


def test_a_missing_column_of_tags_is_named_by_its_key(tmp_path: Path) -> None:
    (tmp_path / "rows.conll").write_text("Ann B-per\n", "utf-8")
    data = {"train": str(tmp_path / "rows.conll"), "tokens": "tokens", "tags": "7"}
    task = {"name": "entities", "kind": "token_classification", "data": data}
    with pytest.raises(DiagnosticError) as caught:
        labels_of(Spec.model_validate({"task": [task]}))
    (problem,) = caught.value.diagnostics
    assert problem.help == 'write `tags = "…"` with the name of the column that holds the tags'


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'{"topic": "\xe9"}\n'])
def test_text_that_is_not_text(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DiagnosticError, match="not UTF-8 text"):
        labels_of(spec_with(tmp_path / "rows.jsonl"))


@given(st.lists(st.one_of(st.text(), st.integers())), st.randoms())
def test_labels_do_not_depend_on_the_order_of_rows(values: list[object], random) -> None:
    shuffled = [*values, *values]
    random.shuffle(shuffled)
    assert sorted_labels(shuffled) == sorted_labels(values)
    assert list(sorted_labels(values)) == sorted({str(value) for value in values})
