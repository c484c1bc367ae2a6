"""Runs that are not finished, were killed or are damaged: a page that says so, or a diagnostic."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from freezeplan.diagnostics import DiagnosticError
from freezeplan.report.page import report_html
from freezeplan.report.reading import read_report
from tests.report.made import comparison_record, probe_record
from tests.runs.changing import reseal

RECORDS = ("run.json", "plan.json", "evidence.json", "scores.json", "times.json", "metrics.jsonl")
ROUNDS, SEED = 4, 1
ODD = (None, -1, "x", [], {}, 1e308, 10**400, float("nan"), True, [[]])


@pytest.fixture
def run(strange: Path, tmp_path: Path) -> Path:
    """A copy of a run's records, without its weights."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in RECORDS:
        shutil.copy(strange / name, folder / name)
    return folder


def told(folder: Path) -> str:
    """Return the page of a folder, or what its diagnostic says; anything else that is raised is a fault of ours."""
    try:
        return report_html(read_report([folder]), "0")
    except DiagnosticError as error:
        return error.diagnostics[0].message


def faults(folder: Path) -> tuple[str, ...]:
    return read_report([folder]).runs[0].faults


def test_a_whole_run_has_no_faults(run: Path) -> None:
    assert faults(run) == ()


@pytest.mark.parametrize("name", RECORDS[1:])
def test_what_is_missing_or_broken_is_named_and_the_rest_is_shown(run: Path, name: str) -> None:
    (run / name).write_text('{"half": ', "utf-8")
    assert any(name in text for text in faults(run))
    assert "Not all of this run&#39;s records" in told(run) or "Not all of this run's records" in told(run)
    (run / name).unlink()
    assert [text for text in faults(run) if f"`{name}` is missing" in text]


def test_a_changed_file_is_shown_and_named(run: Path) -> None:
    evidence = json.loads((run / "evidence.json").read_text("utf-8"))
    evidence["statement"] = "all is well"
    (run / "evidence.json").write_text(json.dumps(evidence), "utf-8")
    assert faults(run) == ("`evidence.json` is not what was written (its sha256 differs)",)
    assert "all is well" in told(run)


def test_what_is_behind_the_log_of_a_killed_run_does_not_count(run: Path) -> None:
    before = read_report([run]).runs[0].course
    reseal(run / "run.json", lambda record: record.update(status="running"))
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(
            '{"kind": "step", "epoch": 9, "step": 999, "losses": {"topic": 5.0}, "rates": {}}\n{"kind": "st'
        )
    report = read_report([run]).runs[0]
    assert report.course == before
    assert report.standing.startswith("not finished: it is running, or its process was killed")
    assert report.faults == ()


def test_a_run_that_has_just_begun_has_a_page(run: Path) -> None:
    for name in ("evidence.json", "scores.json"):
        (run / name).unlink()
    (run / "metrics.jsonl").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    def begin(record: dict[str, Any]) -> None:
        record.update(status="running", epoch=0, step=0, scores={}, log_bytes=0)
        files = {
            name: digest
            for name, digest in record["files"].items()
            if name not in ("evidence.json", "scores.json")
        }
        record["files"] = files | {"metrics.jsonl": empty}

    reseal(run / "run.json", begin)
    assert faults(run) == ()
    assert "not begun" in told(run)


def test_a_run_that_was_only_evaluated_has_the_scores_of_its_validation_data(run: Path) -> None:
    before = read_report([run]).runs[0].scores
    reseal(run / "run.json", lambda record: record["scores"].pop("validation"))
    assert read_report([run]).runs[0].scores == before


def test_what_a_run_of_before_did_not_measure_is_left_open(run: Path) -> None:
    reseal(run / "times.json", lambda record: (record.pop("cpu_seconds"), record.pop("peak_bytes")))
    phase = read_report([run]).runs[0].phases[0]
    assert phase.seconds is not None and (phase.cpu_seconds, phase.peak_bytes) == (None, None)
    assert faults(run) == ()


def test_no_folder_of_a_run_is_a_diagnostic(run: Path, tmp_path: Path) -> None:
    assert "there is no such folder" in told(tmp_path / "none")
    (run / "run.json").write_text("{", "utf-8")
    assert "not readable JSON" in told(run)
    (run / "run.json").unlink()
    assert "it has no `run.json`" in told(run)


@pytest.mark.parametrize("name", RECORDS)
def test_records_with_any_value_anywhere_end_in_a_page_or_a_diagnostic(run: Path, name: str) -> None:
    chance = random.Random(f"{name}{SEED}")
    lines = name.endswith("l")
    text = (run / name).read_text("utf-8")
    whole: Any = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    for _ in range(ROUNDS):
        record = json.loads(json.dumps(whole))
        spoil(record, chance)
        rows = record if lines else [record]
        (run / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        assert told(run)


def spoil(record: Any, chance: random.Random) -> None:
    """Put another value in some place of a record, or take one away."""
    place = record
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = chance.choice(keys)
        below = place[key]
        if isinstance(below, (dict, list)) and below and chance.random() < 0.8:
            place = below
            continue
        if isinstance(place, dict) and chance.random() < 0.3:
            del place[key]
        else:
            place[key] = chance.choice(ODD)
        return


@pytest.mark.parametrize("made", [comparison_record, probe_record])
def test_comparisons_and_probes_with_any_value_anywhere_do_too(tmp_path: Path, made: Any) -> None:
    chance = random.Random(SEED)
    for _ in range(2 * ROUNDS):
        record = made()
        spoil(record, chance)
        (tmp_path / "comparison.json").write_text(json.dumps(record), "utf-8")
        assert told(tmp_path)


def test_the_json_of_numbers_that_are_none_is_json(run: Path) -> None:
    text = (run / "metrics.jsonl").read_text("utf-8")
    (run / "metrics.jsonl").write_text(
        text.replace('"losses": {"topic": 1', '"losses": {"topic": NaN, "x": 1'), "utf-8"
    )
    record = read_report([run]).to_record()

    def refuse(text: str) -> None:
        raise AssertionError(text)

    again = json.loads(json.dumps(record), parse_constant=refuse)
    losses = again["runs"][0]["course"]["tasks"][0]["losses"]
    assert [value for _, value in losses if value is None]
    assert "no number" in told(run)
