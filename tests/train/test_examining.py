"""A finished run is evaluated as it was at its end, and on files whose columns have other names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from freezeplan.cli.program import run as command
from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.run_files import SCORES
from freezeplan.train.examining import AskedRows, evaluate_run
from freezeplan.train.run import train
from tests.train.phased import HEADS_ONLY
from tests.train.targets import tasks_of_every_kind, write_targets
from tests.train.tiny import toy_spec, write_jsonl


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the tiny model and rows; no test may change it."""
    return write_targets(tmp_path_factory.mktemp("targets"))


@pytest.fixture(scope="module")
def run(rows: Path) -> Path:
    """Return a finished run with a task of every kind."""
    spec = toy_spec(rows, rule=HEADS_ONLY, task=tasks_of_every_kind(rows), train={"epochs": 1})
    return train(spec, rows / "run").folder


def alike(one: Any, other: Any) -> bool:
    """Whether two records are the same, numbers up to rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return one == pytest.approx(other, abs=1e-5)


def renamed(rows: Path, to: Path, names: dict[str, str]) -> Path:
    """Write the test rows with other names of columns."""
    lines = (rows / "test.jsonl").read_text("utf-8").splitlines()
    table = [{names.get(key, key): value for key, value in json.loads(line).items()} for line in lines]
    write_jsonl(to / "named.jsonl", table)
    return to / "named.jsonl"


@pytest.mark.parametrize("split", ["validation", "test"])
def test_every_kind_scores_as_at_the_end_of_the_run(run: Path, split: str) -> None:
    kept = json.loads((run / SCORES).read_text("utf-8"))[split]
    found = evaluate_run(run, AskedRows(split))
    assert alike(found.tasks, kept)
    assert json.loads(json.dumps(found.tasks)) == found.tasks


def test_a_file_is_read_by_the_names_of_the_runs_own_columns(run: Path, rows: Path) -> None:
    own = evaluate_run(run)
    assert evaluate_run(run, AskedRows(file=rows / "test.jsonl")).tasks == own.tasks


@pytest.mark.parametrize(
    ("task", "names", "given"),
    [
        ("topic", {"text": "a", "topic": "b"}, {"column": "a", "labels": ["b"]}),
        ("said", {"text": "a", "said": "b"}, {"column": "a", "labels": ["b"]}),
        ("flags", {"now": "a", "the": "b"}, {"labels": ["a", "b"]}),
        ("numbers", {"charge": "a", "words": "b"}, {"labels": ["a", "b"]}),
        ("ner", {"tokens": "a", "tags": "b"}, {"column": "a", "labels": ["b"]}),
        (
            "alike",
            {"text": "a", "other": "c", "charge": "b"},
            {"column": "a", "pair_column": "c", "labels": ["b"]},
        ),
        ("compared", {"other": "c", "charge": "b"}, {"pair_column": "c", "labels": ["b"]}),
        ("pair", {"other": "c"}, {"pair_column": "c"}),
    ],
)
def test_its_columns_may_have_other_names(
    run: Path, rows: Path, tmp_path: Path, task: str, names: dict[str, str], given: dict[str, Any]
) -> None:
    file = renamed(rows, tmp_path, names)
    found = evaluate_run(run, AskedRows(file=file, **given), [task]).tasks
    assert found == {task: evaluate_run(run, tasks=[task]).tasks[task]}
    with pytest.raises(DiagnosticError) as caught:
        evaluate_run(run, AskedRows(file=file), [task])
    assert {item.code for item in caught.value.diagnostics} <= {"FP456", "FP576"}


def test_a_split_that_the_spec_does_not_name_is_refused_or_said_to_be_left_out(
    toy: Path, tmp_path: Path
) -> None:
    data = {"train": str(toy / "train.jsonl"), "label": "topic"}
    tasks = [
        {"name": "t", "data": data},
        {"name": "u", "data": data | {"validation": str(toy / "validation.jsonl")}},
    ]
    run = train(toy_spec(toy, task=tasks, train={"epochs": 1}), tmp_path / "run").folder
    found = evaluate_run(run, AskedRows("validation"))
    (note,) = found.diagnostics
    assert (list(found.tasks), note.code, note.severity) == (["u"], "FP579", "note")
    assert note.message == "the run's spec names no validation data for `t`: left out here"
    with pytest.raises(DiagnosticError) as caught:
        evaluate_run(run)
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == ("FP576", "the run's spec names no test data for `t`, `u`")


def test_the_command_prints_tables_or_json(
    run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["evaluate", str(run), "--task", "topic", "--task", "ner"]) == 0
    shown = capsys.readouterr().out
    assert "topic: true (down) and predicted (across)" in shown and "ner, strict spans" in shown
    assert command(["evaluate", str(run), "--format", "json", "--data", str(rows / "test.jsonl")]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == evaluate_run(run).tasks
    assert command(["evaluate", str(run), "--column", "x"]) == 2
    assert command(["evaluate", str(tmp_path)]) == 2
    assert command(["evaluate", str(run), "--data", str(rows / "test.jsonl"), "--column", "no"]) == 1


def test_a_column_that_a_file_lacks_is_laid_to_its_option(run: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "odd.jsonl", [{"words": "fine"}, {"words": "poor"}])
    with pytest.raises(DiagnosticError) as caught:
        evaluate_run(run, AskedRows(file=tmp_path / "odd.jsonl"), ["topic"])
    (found,) = caught.value.diagnostics
    assert found.code == "FP456" and found.where is None
    assert (found.help or "").endswith("--column names it")
