"""What ``freezeplan predict`` reads, and when it stops."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from freezeplan.cli import predict as command
from freezeplan.cli.features import features
from freezeplan.cli.streams import Settings
from freezeplan.diagnostics import DiagnosticError
from freezeplan.train import predict as answering


def ask(*arguments: str) -> Any:
    return command.predict.main(["run", *arguments], obj=Settings(), standalone_mode=False)


def test_it_stops_when_nobody_reads_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def endless(folder: Path, inputs: Iterable[str], asked: Any) -> Iterator[dict[str, Any]]:
        for number in itertools.count():
            given.append(number)
            yield {"text": "x", "t": {"label": "a", "score": 1.0}}

    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(answering, "predict", endless)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert ask("a text") == 0
    assert len(given) <= 2


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"label": "a", "score": 0.875}, "t: a (0.88)  x"),
        ({"labels": ["a", "b"], "scores": [0.875, 0.6]}, "t: a (0.88), b (0.60)  x"),
        ({"labels": [], "scores": []}, "t: none  x"),
        ({"value": 2.0}, "t: 2  x"),
        ({"tags": ["O", None], "scores": [0.5, None]}, "t: O -  x"),
        ({"values": {"u": 0.5, "v": -1.25}}, "t: u 0.5, v -1.25  x"),
    ],
)
def test_an_answer_of_each_kind_is_a_line(found: dict[str, Any], line: str) -> None:
    assert command._line({"text": "x", "t": found}).plain == line


def test_an_input_of_gigabytes_without_a_line_break_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "LONGEST_LINE", 10)
    monkeypatch.setattr(answering, "predict", lambda folder, inputs, asked: iter(inputs))
    (tmp_path / "texts.txt").write_text("x" * 99)
    with pytest.raises(DiagnosticError, match="input 1 is longer than 10 characters"):
        ask("--file", str(tmp_path / "texts.txt"))


def test_a_column_is_one_of_a_data_file(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("x")
    with pytest.raises(click.UsageError, match="--column is of a data file"):
        ask("--file", str(tmp_path / "texts.txt"), "--column", "text")


def test_a_data_file_is_read_by_its_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    monkeypatch.setattr(answering, "predict_file", lambda *given: asked.append(given) or iter(()))
    (tmp_path / "rows.csv").write_text("text\nx\n")
    assert ask("--file", str(tmp_path / "rows.csv"), "--column", "text") == 0
    assert asked == [(Path("run"), tmp_path / "rows.csv", "text", answering.ALL, None)]
    assert ask("--file", str(tmp_path / "rows.csv"), "--pair-column", "b", "--task", "t", "--task", "u") == 0
    assert asked[1] == (Path("run"), tmp_path / "rows.csv", None, answering.Asked(("t", "u")), "b")


def answered(folder: Path, inputs: Iterable[str], asked: Any) -> Iterator[dict[str, Any]]:
    for text in inputs:
        if text == "stop":
            raise KeyboardInterrupt
        answer = {"label": "a", "score": 1.0} | ({"probabilities": {"a": 1.0}} if asked.probabilities else {})
        yield {"text": text, "t": answer}


def test_answers_go_into_a_file_that_is_whole_or_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answering, "predict", answered)
    out = tmp_path / "answers.csv"
    assert ask("one", "two", "--out", str(out), "--probabilities") == 0
    assert capsys.readouterr().out == f"wrote {out}: 2 answers\n"
    assert out.read_text("utf-8") == "text,t.label,t.score,t.probabilities.a\none,a,1.0,1.0\ntwo,a,1.0,1.0\n"
    for arguments, error in ((["one"], DiagnosticError), (["one", "stop", "--overwrite"], click.Abort)):
        with pytest.raises((error, KeyboardInterrupt)):
            ask(*arguments, "--out", str(out))
        assert [path.name for path in tmp_path.iterdir()] == ["answers.csv"]
        assert "two" in out.read_text("utf-8")
    assert ask("three", "--out", str(out), "--overwrite") == 0
    assert "three" in out.read_text("utf-8")


def test_a_file_of_a_run_is_not_replaced_by_answers_or_features(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(answering, "predict", answered)
    (tmp_path / "run.json").write_text('{"files": {"log.jsonl": "", "test.parquet": ""}}')
    for name, asked in (("log.jsonl", command.predict), ("test.parquet", features)):
        (tmp_path / name).write_text("")
        with pytest.raises(click.BadParameter, match="would be lost: it belongs to the run"):
            asked.main(
                ["run", "--out", str(tmp_path / name), "--overwrite"], obj=Settings(), standalone_mode=False
            )
    assert ask("three", "--out", str(tmp_path / "other.jsonl")) == 0


def test_probabilities_have_no_place_in_lines_of_text() -> None:
    with pytest.raises(click.UsageError, match="--format json"):
        ask("one", "--probabilities")
