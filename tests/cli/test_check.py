from __future__ import annotations

import json

from tests.cli.rooms import GOOD


def test_one_line_per_spec_and_its_diagnostics(room):
    done = room.run("check", "good.toml", "bad.toml", "frozen.toml")
    assert done.status == 1
    good, bad, frozen = done.out.splitlines()
    assert " ".join(good.split()) == "ok good.toml: 178 of 658 parameters (27.1 %) train"
    assert bad.split() == ["failed", "bad.toml:", "1", "error"]
    assert frozen.split()[0] == "ok" and frozen.endswith("; 1 warning")
    assert done.err.count("error[FP201]") == 1 and done.err.count("warning[FP404]") == 1


def test_clean_specs_pass_silently(room):
    done = room.run("check", "good.toml")
    assert (done.status, done.err) == (0, "")


def test_warnings_fail_only_when_strict(room):
    assert room.run("check", "frozen.toml").status == 0
    strict = room.run("check", "--strict", "frozen.toml")
    assert strict.status == 1 and strict.out.startswith("failed")


def test_an_unreadable_spec_outweighs_the_others(room):
    room.write("latin.toml", GOOD.replace("everything", "größe").encode("latin-1"))
    done = room.run("check", "bad.toml", "missing.toml", "latin.toml", "good.toml")
    assert done.status == 2
    assert [line.split()[0] for line in done.out.splitlines()] == ["failed", "unreadable", "unreadable", "ok"]


def test_json_holds_every_verdict_and_nothing_else_is_printed(room):
    done = room.run("check", "--format", "json", "good.toml", "bad.toml", "none.toml")
    specs = json.loads(done.out)["specs"]
    assert done.status == 2 and done.err == ""
    assert [(item["spec"], item["verdict"], item["errors"]) for item in specs] == [
        ("good.toml", "ok", 0),
        ("bad.toml", "failed", 1),
        ("none.toml", "unreadable", 1),
    ]
    assert specs[1]["diagnostics"][0]["code"] == "FP201"


def test_no_spec_at_all_is_wrong_usage(room):
    assert room.run("check").status == 2
