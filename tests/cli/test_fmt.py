"""``fmt`` and ``check --fix`` as a user meets them: what they write, say and leave alone."""

from __future__ import annotations

import json
import stat
from importlib import import_module

from click.testing import CliRunner

from freezeplan.diagnostics import DiagnosticError
from tests.cli.rooms import GOOD

LOOSE = GOOD.replace(" = ", "=").replace("\n\n", "\n\n\n") + "# the end\n"
SLIPS = GOOD.replace("[[rule]]", "[rule]").replace("lr_mult", "lr_mlt")


def test_fmt_writes_in_place_and_keeps_the_mode(room):
    room.write("loose.toml", LOOSE).chmod(0o640)
    done = room.run("fmt", "loose.toml", "good.toml")
    assert (done.status, done.out, done.err) == (0, "changed loose.toml\n", "")
    assert (room.path / "loose.toml").read_text() == GOOD + "# the end\n"
    assert stat.S_IMODE((room.path / "loose.toml").stat().st_mode) == 0o640
    assert (room.path / "good.toml").read_text() == GOOD


def test_check_writes_nothing(room):
    room.write("loose.toml", LOOSE)
    done = room.run("fmt", "--check", "loose.toml", "good.toml")
    assert (done.status, done.out) == (1, "would change loose.toml\n")
    assert (room.path / "loose.toml").read_text() == LOOSE
    assert room.run("fmt", "--check", "good.toml").status == 0


def test_nothing_is_written_unless_all_can_be_read(room):
    room.write("loose.toml", LOOSE)
    room.write("broken.toml", "a =")
    done = room.run("fmt", "loose.toml", "broken.toml", "missing.toml")
    assert done.status == 2 and "FP005" in done.err and "FP001" in done.err and done.out == ""
    assert (room.path / "loose.toml").read_text() == LOOSE


def test_fmt_in_a_pipe(room):
    assert room.run("fmt", "-", stdin=b"a=1\n\n\n").out == "a = 1\n"
    assert room.run("fmt", "-", "--check", stdin=b"a=1").status == 1
    assert "FP004" in room.run("fmt", "-", stdin=b"\xff").err


def test_what_would_say_something_else_is_left_as_it_is(tmp_path, monkeypatch):
    module = import_module("freezeplan.cli.fmt")
    monkeypatch.setattr("freezeplan.spec.formatting.formatted", lambda text: text.replace("lr", "rate"))
    path = tmp_path / "loose.toml"
    path.write_text(LOOSE)
    done = CliRunner().invoke(module.fmt, [str(path)])
    assert isinstance(done.exception, DiagnosticError)
    assert [item.code for item in done.exception.diagnostics] == ["FP149"]
    assert path.read_text() == LOOSE


def test_fix_mends_says_so_and_checks(room):
    room.write("slips.toml", SLIPS).chmod(0o600)
    done = room.run("check", "slips.toml", "--fix")
    assert done.status == 0 and done.out.startswith("ok ")
    lines = done.err.splitlines()
    assert lines[0] == "fixed slips.toml:4:1: [rule] -> [[rule]]" and len(lines) == 4
    assert lines[3] == "fixed slips.toml:13:1: lr_mlt -> lr_mult"
    assert (room.path / "slips.toml").read_text() == GOOD
    assert stat.S_IMODE((room.path / "slips.toml").stat().st_mode) == 0o600


def test_fix_leaves_a_spec_that_compiles_and_one_that_cannot_be_read(room):
    before = (room.path / "good.toml").stat()
    done = room.run("check", "good.toml", "missing.toml", "--fix")
    assert done.status == 2 and "FP001" in done.err and "fixed" not in done.err
    after = (room.path / "good.toml").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_a_certain_fix_is_in_the_record(room):
    room.write("slips.toml", GOOD.replace("lr_mult", "lr_mlt"))
    found = json.loads(room.run("check", "slips.toml", "--format", "json").out)["specs"][0]["diagnostics"]
    assert [item["fix"] for item in found] == [{"was": "lr_mlt", "text": "lr_mult"}]
