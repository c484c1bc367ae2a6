"""``freezeplan report``: what it writes where, and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from freezeplan.api import render_report
from freezeplan.cli.program import program
from freezeplan.cli.streams import Settings
from freezeplan.cost.records import Cost, Memory, PhaseCost, Work
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.plan.records import Plan
from freezeplan.report.reading import read_report
from freezeplan.spec.tables import Spec


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def asked(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        program, ["report", *map(str, arguments)], obj=Settings(), standalone_mode=False
    )


def test_it_writes_a_page_and_says_how_large_it_is(strange: Path) -> None:
    done = asked(strange)
    page = Path("report.html").read_text("utf-8")
    assert done.exception is None
    assert done.stderr == f"written: report.html ({len(page.encode()) / 1024:.1f} KiB)\n"
    assert page.startswith("<!DOCTYPE html>")
    assert asked(strange).exception is None, "an earlier report is replaced"


def test_the_library_returns_and_writes_the_same_page(strange: Path, measured: tuple[Path, Path]) -> None:
    page = render_report([strange, *map(str, measured)], "mine.html")
    assert Path("mine.html").read_text("utf-8") == page
    assert asked(strange, *measured, "--out", "-").stdout.rstrip("\n") == page.rstrip("\n")
    with pytest.raises(DiagnosticError, match="nothing to report on"):
        render_report([])


def test_a_file_that_is_no_report_is_not_replaced_unless_it_is_named(strange: Path) -> None:
    Path("report.html").write_text("mine", "utf-8")
    assert "no report of freezeplan" in str(asked(strange).exception)
    assert Path("report.html").read_text("utf-8") == "mine"
    assert asked(strange, "--out", "report.html").exception is None
    assert Path("report.html").read_text("utf-8") != "mine"


def test_the_json_is_the_record_of_the_page(strange: Path, measured: tuple[Path, Path]) -> None:
    done = asked(strange, *measured, "--format", "json")
    assert json.loads(done.stdout) == json.loads(json.dumps(read_report([strange, *measured]).to_record()))
    assert not Path("report.html").exists()
    assert asked(strange, "--out", "-").stdout.startswith("<!DOCTYPE html>")


def test_what_is_no_run_is_refused_with_a_code(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1]", "utf-8")
    for path, code in (("none", "FP520"), (".", "FP520"), ("x.json", "FP597")):
        error = asked(path).exception
        assert isinstance(error, DiagnosticError)
        assert error.diagnostics[0].code == code


def test_costs_are_predicted_from_the_run_alone(strange: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def estimate(spec: Spec, plan: Plan) -> Cost:
        assert Path(str(spec.model.source)) == strange.resolve()
        memory, work = Memory(1, 2, 3, 4, 5, 7 * 2**20, None), Work(10**9, 2 * 10**9)
        phases = (
            PhaseCost(item.name, ("topic",), memory, work, 10**12, {}, None, "too few")
            for item in plan.phases
        )
        return Cost(48, 48, 8, "words", True, tuple(phases), ("all is assumed",))

    monkeypatch.setattr("freezeplan.train.own_cost.estimate_cost", estimate)
    assert asked(strange, "--cost").exception is None
    page = Path("report.html").read_text("utf-8")
    assert "7.0 MiB" in page and "3.0 GFLOP" in page and "all is assumed" in page
    (run,) = json.loads(asked(strange, "--cost", "--format", "json").stdout)["runs"]
    assert [phase["name"] for phase in run["cost"]["phases"]] == [phase["name"] for phase in run["phases"]]


def test_a_cost_that_cannot_be_predicted_is_said(strange: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(spec: Spec, plan: Plan) -> Cost:
        raise DiagnosticError([diagnostic("FP480", "it does not run that way")])

    monkeypatch.setattr("freezeplan.train.own_cost.estimate_cost", refuse)
    (run,) = json.loads(asked(strange, "--cost", "--format", "json").stdout)["runs"]
    assert run["faults"] == ["its cost cannot be predicted here: it does not run that way"]


def test_a_pipe_in_the_place_of_a_record_is_not_waited_for(strange: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_bytes((strange / "run.json").read_bytes())
    os.mkfifo(folder / "metrics.jsonl")
    assert any("metrics.jsonl" in fault for fault in read_report([folder]).runs[0].faults)
