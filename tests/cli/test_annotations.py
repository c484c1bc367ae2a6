"""``check`` for a review: annotations of GitHub, SARIF, and the hooks for pre-commit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from freezeplan.cli.program import program
from freezeplan.diagnostics import Span, diagnostic
from freezeplan.render.annotations import Finding, github_lines, sarif_record
from tests.cli.rooms import BAD, Room

ROOT = Path(__file__).parents[2]


def test_github_gets_a_command_per_finding_beside_the_verdicts(room: Room) -> None:
    done = room.run("check", "good.toml", "bad.toml", "--format", "github")
    assert (done.status, done.err) == (1, "")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "failed", "::error"]
    found = re.match(r"::error file=(.*?),line=(\d+),col=(\d+),endColumn=(\d+),title=FP201%3A ", lines[2])
    assert found and found[1] == "bad.toml"
    line = BAD.splitlines()[int(found[2]) - 1]
    assert line[int(found[3]) - 1 : int(found[4]) - 1] == "clasifier"
    assert "%0Ahelp: did you mean `classifier`?" in lines[2]


def test_a_command_is_one_line_whatever_a_message_holds() -> None:
    span = Span("a,b:c.toml", 3, 2, 5, "x = 1")
    (line,) = github_lines([Finding("s.toml", diagnostic("FP201", "100 %\r\nof :: it", span=span))])
    assert line.startswith("::error file=a%2Cb%3Ac.toml,line=3,col=2,endColumn=7,title=")
    assert line.endswith("::100 %25%0D%0Aof :: it")


def test_sarif_names_rules_levels_and_places(room: Room) -> None:
    done = room.run("check", "frozen.toml", "bad.toml", "good.toml", "--locked", "--format", "sarif")
    log = json.loads(done.out)
    assert (done.status, done.err, log["version"]) == (2, "", "2.1.0")
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == sorted({result["ruleId"] for result in run["results"]})
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    places = {
        (result["ruleId"], result["level"], place["artifactLocation"]["uri"], place["region"]["startLine"])
        for result in run["results"]
        for place in [result["locations"][0]["physicalLocation"]]
    }
    assert {("FP581", "error", "good.toml", 1), ("FP581", "error", "frozen.toml", 1)} < places
    assert any(code == "FP201" and uri == "bad.toml" and line > 1 for code, _, uri, line in places)
    assert {level for _, level, _, _ in places} <= {"error", "warning", "note"}


def test_sarif_holds_the_change_that_is_certain(room: Room) -> None:
    room.write("slip.toml", BAD.replace("state", "stat", 1))
    log = json.loads(room.run("check", "slip.toml", "--format", "sarif").out)
    fixes = [result["fixes"] for result in log["runs"][0]["results"] if "fixes" in result]
    (change,) = fixes[0][0]["artifactChanges"]
    assert change["artifactLocation"] == {"uri": "slip.toml"}
    (replaced,) = change["replacements"]
    region, text = replaced["deletedRegion"], (room.path / "slip.toml").read_text().splitlines()
    assert text[region["startLine"] - 1][region["startColumn"] - 1 : region["endColumn"] - 1] == "stat"
    assert replaced["insertedContent"] == {"text": "state"}


def test_what_stands_in_a_preset_is_shown_at_the_spec() -> None:
    span = Span("preset:llrd", 4, 1, 2, "x")
    record = sarif_record([Finding("my spec.toml", diagnostic("FP201", "m", span=span))], "1")
    place = record["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "my%20spec.toml"}, "region": {"startLine": 1}}


HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_calls_a_command_that_there_is(hook: dict[str, object]) -> None:
    name, *arguments = str(hook["entry"]).split()
    assert name == "freezeplan" and hook["language"] == "python"
    assert re.search(str(hook["files"]), "a/freezeplan.toml") and not re.search(str(hook["files"]), "b.toml")
    done = CliRunner().invoke(program, [*arguments, "--help"])
    assert done.exit_code == 0 and isinstance(program, click.Group)
