from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from click import UsageError
from click.testing import CliRunner

from freezeplan.cli.program import program
from freezeplan.diagnostics import entries
from tests.cli.rooms import GOOD, surroundings


def test_why_names_the_winner_the_overruled_and_their_places(room):
    done = room.run("why", "good.toml", "bert.encoder.layer.2.attention.query.weight")
    assert (done.status, done.err) == (0, "")
    assert re.search(r'^ +wins +state = "trainable" +upper +good\.toml:12:', done.out, re.M)
    assert re.search(r'^ +overruled +state = "frozen" +everything +good\.toml:7:', done.out, re.M)
    assert re.search(r"^ +LR +1e-05$", done.out, re.M)


def test_why_as_json(room):
    record = json.loads(room.run("why", "good.toml", "classifier.bias", "--format", "json").out)
    assert (record["parameter"], record["lr"], record["state"]) == ("classifier.bias", 3e-4, "trainable")
    winners = {touch["property"]: touch["rule"] for touch in record["touches"] if touch["won"]}
    assert winners == {"state": "top of all", "lr": "top of all"}


def test_why_for_a_name_the_model_does_not_have(room):
    done = room.run("why", "good.toml", "classifer.bias")
    assert (done.status, done.stdout) == (2, b"")
    assert "error[FP213]" in done.err and "`classifier.bias`" in done.err


def test_explain_prints_an_entry_whatever_the_case(room):
    done = room.run("explain", "fp201")
    assert done.status == 0 and done.out.startswith("error[FP201]: ")
    assert all(f"\n{part}\n" in done.out for part in ("What", "Why", "Example", "Fix"))


def test_explain_lists_every_code(room):
    assert [line.split()[0] for line in room.run("explain").out.splitlines()] == list(entries())


def test_explain_suggests_a_code(room):
    done = room.run("explain", "FP2011")
    assert done.status == 2 and "FP201" in done.err and "Traceback" not in done.err


def test_schema_is_the_language_s_json_schema(room):
    from freezeplan.spec.schema import json_schema

    assert json.loads(room.run("schema").out) == json_schema()


def test_version_and_help(room):
    assert re.fullmatch(r"freezeplan \S+\n", room.run("--version").out)
    shown = room.run("-h")
    assert shown.status == 0
    listed = re.findall(r"^  (\w+) +\w", shown.out.partition("Commands:")[2], re.M)
    commands = [
        "show",
        "why",
        "check",
        "lock",
        "diff",
        "fmt",
        "init",
        "import",
        "params",
        "probe",
        "compare",
        "train",
        "verify",
        "evaluate",
        "predict",
        "features",
        "export",
        "report",
        "explain",
        "schema",
    ]
    assert listed[: len(commands)] == commands


@pytest.mark.parametrize("arguments", [["--help"], ["explain", "FP201"], ["explain"], ["--version"]])
def test_what_needs_no_model_imports_none(arguments):
    heavy = {"torch", "transformers", "pydantic", "datasets", "numpy"}
    script = f"""
import sys
from freezeplan.cli.program import run
run({arguments!r})
print(sorted({heavy!r} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=surroundings({}), check=True
    )
    *shown, imported = done.stdout.splitlines()
    assert shown and imported == "[]"


@pytest.mark.parametrize(
    ("name", "text", "status", "code"),
    [
        ("broken.toml", "[model\n", 1, "FP005"),
        ("typo.toml", GOOD.replace("lr_mult", "lr_mul"), 1, "FP101"),
        ("binary.toml", b"\xff\xfe\x00", 2, "FP004"),
        ("huge.toml", b"# " + b"x" * 2**20, 2, "FP003"),
        (None, None, 2, "FP001"),
    ],
)
def test_a_spec_that_cannot_be_used_is_a_diagnostic_and_a_status(room, name, text, status, code):
    if name:
        room.write(name, text)
    done = room.run("show", name or "missing.toml")
    assert (done.status, done.stdout) == (status, b"")
    assert done.err.startswith(f"error[{code}]: ") and "Traceback" not in done.err


EXPORT = ["export", "run", "out", "--to", "transformers", "--column", "body"]
WRONG = [["shwo"], ["show", "--fromat", "json"], ["show", "a", "b"], ["why", "a"], ["predict"], EXPORT]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_usage_is_status_2(room, arguments):
    done = room.run(*arguments)
    assert (done.status, done.stdout) == (2, b"") and done.err.startswith("Usage: ")


@pytest.mark.parametrize("command", ["show", "train", "report", "verify", "check"])
def test_an_empty_path_is_not_the_current_folder(command):
    found = CliRunner().invoke(program, [command, ""], standalone_mode=False)
    assert isinstance(found.exception, UsageError) and "the path is empty" in str(found.exception)
