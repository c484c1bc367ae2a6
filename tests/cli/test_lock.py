"""``lock``, ``check --locked`` and ``diff`` as a user meets them: right and wrong input, and what they leave."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.rooms import GOOD, SHAPES, Room, header

RATE = GOOD.replace("lr_mult = 0.5", "lr_mult = 0.25")


@pytest.fixture
def locked(room: Room) -> Room:
    """A room whose good spec has a lock."""
    done = room.run("lock", "good.toml")
    assert (done.status, done.err) == (0, "") and done.out.startswith("wrote good.lock: ")
    return room


def test_a_lock_is_checked_and_a_change_is_named_with_its_cause(locked):
    fine = locked.run("check", "good.toml", "--locked")
    assert (fine.status, fine.err) == (0, "") and fine.out.startswith("ok ")
    locked.write("good.toml", RATE)
    done = locked.run("check", "good.toml", "--locked")
    assert done.status == 1 and done.out.startswith("failed ")
    assert "error[FP580]: the plan is not the one in `good.lock`: 1 difference" in done.err
    assert "changed since it was written: `good.toml`" in done.err
    assert "lr 1e-05 -> 5e-06: `bert.encoder.layer.{1..2}` (6 tensors), by `upper`" in done.err
    assert "freezeplan lock good.toml" in done.err


def test_without_being_asked_nobody_looks_at_the_lock(locked):
    locked.write("good.toml", RATE)
    assert locked.run("check", "good.toml").status == 0


def test_a_library_that_changed_is_named(locked):
    text = (locked.path / "good.lock").read_text()
    old = text.replace('transformers = "', 'transformers = "4').replace("lr 1e-05", "lr 2e-05")
    locked.write("good.lock", old)
    done = locked.run("check", "good.toml", "--locked")
    assert done.status == 1 and "changed since it was written: transformers 4" in done.err
    locked.write("good.lock", text.replace("lr 1e-05", "lr 2e-05"))
    assert "it was edited" in locked.run("check", "good.toml", "--locked").err


def test_another_library_that_changes_nothing_is_no_difference(locked):
    text = (locked.path / "good.lock").read_text()
    locked.write(
        "good.lock", text.replace('transformers = "', 'transformers = "4').replace("by upper", "by top")
    )
    assert locked.run("check", "good.toml", "--locked").status == 0


MERGED = "<<<<<<< HEAD\nx\n=======\ny\n>>>>>>> other\n"


@pytest.mark.parametrize(
    ("damage", "code", "said"),
    [
        (None, "FP581", "there is no lock `good.lock`"),
        (lambda text: text + MERGED, "FP582", "a merge has left its marks in it"),
        (lambda text: text[:-20], "FP582", "not valid TOML"),
        (lambda text: text.replace("lr 1e-05", "lr quick"), "FP582", "is not what `freezeplan lock` writes"),
        (lambda text: "", "FP582", "it has no `format_version`"),
        (lambda text: text.replace('"1.0"', '"7.0"', 1), "FP583", "'7.0'"),
    ],
)
def test_a_lock_that_cannot_be_used_is_said_with_what_to_do(locked, damage, code, said):
    path = locked.path / "good.lock"
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage(path.read_text()))
    done = locked.run("check", "good.toml", "--locked")
    assert done.status == 2 and f"error[{code}]" in done.err and said in done.err
    advised = "freezeplan lock good.toml" if damage is None else "freezeplan lock SPEC"
    assert advised in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("kind", ["folder", "pipe", "bytes"])
def test_what_is_no_file_of_text_is_no_lock(room, kind):
    path = room.path / "good.lock"
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "bytes": lambda: path.write_bytes(b"\xff\xfe")}[
        kind
    ]()
    done = room.run("check", "good.toml", "--locked")
    assert done.status == 2 and "error[FP581]" in done.err and "Traceback" not in done.err


def test_a_lock_is_the_same_to_the_byte_everywhere(locked, tmp_path_factory):
    first = (locked.path / "good.lock").read_bytes()
    other = Room(tmp_path_factory.mktemp("elsewhere"))
    folder = other.path / "deep"
    shutil.copytree(locked.path, folder)
    (folder / "good.lock").unlink()
    done = other.run(
        "lock", "deep/good.toml", LC_ALL="C", LANG="de_DE.UTF-8", TZ="Asia/Tokyo", PYTHONHASHSEED="7"
    )
    assert done.status == 0 and (folder / "good.lock").read_bytes() == first
    (folder / "good.lock").unlink()
    other.run("lock", str(folder / "good.toml"), LC_ALL="C.UTF-8", PYTHONUTF8="0", PYTHONHASHSEED="8")
    assert (folder / "good.lock").read_bytes() == first
    assert str(locked.path).encode() not in first


def test_a_lock_of_another_plan_is_replaced_when_asked_and_an_equal_one_left_alone(locked):
    path = locked.path / "good.lock"
    before = path.stat().st_mtime_ns
    assert locked.run("lock", "good.toml").out == "unchanged good.lock\n"
    assert path.stat().st_mtime_ns == before
    locked.write("good.toml", RATE)
    old = path.read_bytes()
    shown = [
        "good.lock: 1 change of what the plan does:",
        "  lr 1e-05 -> 5e-06: `bert.encoder.layer.{1..2}` (6 tensors), by `upper`",
    ]
    kept = locked.run("lock", "good.toml")
    assert kept.status == 1 and path.read_bytes() == old
    assert kept.out.splitlines() == shown and "`freezeplan lock good.toml --update` replaces it" in kept.err
    done = locked.run("lock", "good.toml", "--update")
    assert done.status == 0 and done.out.splitlines()[:2] == shown
    assert done.out.splitlines()[2].startswith("wrote good.lock: ") and path.read_bytes() != old
    path.write_text(MERGED)
    assert locked.run("lock", "good.toml").status == 0
    assert locked.run("check", "good.toml", "--locked").status == 0


def test_a_spec_that_does_not_compile_locks_nothing(room):
    done = room.run("lock", "good.toml", "bad.toml")
    assert done.status == 1 and "error[FP201]" in done.err
    assert not list(room.path.glob("*.lock"))


def test_specs_plans_locks_and_runs_are_compared_with_each_other(locked):
    locked.write("other.toml", RATE)
    locked.run("show", "other.toml", "--out", "other.json")
    run = locked.path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    shutil.copy(locked.path / "other.json", run / "plan.json")
    line = "  lr 1e-05 -> 5e-06: `bert.encoder.layer.{1..2}` (6 tensors), by `upper`"
    for before, after in [("good.toml", "other.json"), ("good.lock", "run"), ("good.lock", "other.toml")]:
        done = locked.run("diff", before, after)
        assert done.out.splitlines() == [f"{before} -> {after}: 1 change", line], done.err
        assert (done.status, done.err) == (1, "")
    same = locked.run("diff", "run", "other.toml")
    assert same.status == 0
    assert same.out == "run -> other.toml: no change, the same is done to 12 tensors\n"


def test_a_lock_or_a_plan_may_come_through_a_pipe(locked):
    text = (locked.path / "good.lock").read_bytes()
    same = locked.run("diff", "-", "good.toml", stdin=text)
    assert (same.status, same.err) == (0, "") and same.out.startswith(
        "standard input -> good.toml: no change"
    )
    plan = locked.run("show", "good.toml", "--format", "json").stdout
    assert locked.run("diff", "good.lock", "-", stdin=plan).status == 0
    for odd, code in [(b"", "FP582"), (b"\xff", "FP584"), (b"{}", "FP584"), (b"x = 1", "FP582")]:
        done = locked.run("diff", "-", "good.toml", stdin=odd)
        assert done.status == 2 and f"error[{code}]" in done.err and "Traceback" not in done.err
    os.mkfifo(locked.path / "pipe")
    piped = locked.in_shell('cat good.lock > pipe & "$@"', "diff", "pipe", "good.toml")
    assert piped.status == 0


def test_a_difference_as_json_and_as_markdown(locked):
    locked.write("other.toml", RATE)
    done = locked.run("diff", "good.lock", "other.toml", "--format", "json")
    record = json.loads(done.out)
    assert done.status == 1 and record["equal"] is False
    (change,) = record["changes"]
    assert (change["what"], change["before"], change["after"]) == ("lr", 1e-5, 5e-6)
    assert change["rules"] == ["upper", "upper"] and len(change["tensors"]) == 6
    text = locked.run("diff", "good.lock", "other.toml", "--format", "markdown").out
    assert "| lr 1e-05 -> 5e-06 | `bert.encoder.layer.{1..2}` | 6 | `upper` |" in text


def test_one_spec_is_compared_under_two_models(room):
    grown = {**SHAPES, "bert.encoder.layer.3.attention.query.weight": (8, 8)}
    room.write("grown.safetensors", header(grown))
    done = room.run("diff", "good.toml", "--model", "grown.safetensors")
    assert done.status == 1 and done.out.startswith("good.toml -> good.toml with grown.safetensors: ")
    assert "added, trainable: `bert.encoder.layer.3` (1 tensor), by `upper`" in done.out
    both = room.run("diff", "good.toml", "--model", "grown.safetensors", "--model", "grown.safetensors")
    assert both.status == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["diff", "good.toml"],
        ["diff", "good.toml", "good.toml", "good.toml"],
        ["diff", "a.lock", "good.toml", "--model", "bert"],
        ["diff", "good.toml", "bad.toml", "--model", "bert", "--model", "gpt2"],
        ["check", "good.toml", "--locked", "--model", "bert"],
        ["lock"],
    ],
)
def test_wrong_usage(room, arguments):
    done = room.run(*arguments)
    assert (done.status, done.stdout) == (2, b"") and done.err.startswith("Usage: ")


@pytest.mark.parametrize(
    ("side", "code"),
    [
        ("bad.toml", "FP201"),
        ("none.toml", "FP001"),
        ("none.json", "FP584"),
        ("none.lock", "FP581"),
        ("empty", "FP520"),
        ("odd.json", "FP584"),
        ("new.json", "FP585"),
    ],
)
def test_a_side_that_cannot_be_read_is_status_2(room, side, code):
    (room.path / "empty").mkdir()
    room.write("odd.json", '{"format_version": "1.3", "phases": [], "model": 3}')
    room.write("new.json", '{"format_version": "2.0", "phases": []}')
    done = room.run("diff", "good.toml", side)
    assert (done.status, done.stdout) == (2, b"")
    assert f"error[{code}]" in done.err and "Traceback" not in done.err


def test_a_reader_that_goes_away_and_a_narrow_terminal(locked):
    locked.write("other.toml", RATE)
    gone = locked.with_closed_output("diff", "good.toml", "other.toml")
    assert (gone.status, gone.stderr) == (1, b"")
    narrow = locked.on_terminal("diff", "good.toml", "other.toml", columns=30, NO_COLOR="1")
    assert max(map(len, narrow.out.splitlines())) <= 30
    assert "bert.encoder.layer.{1..2}" in narrow.out.replace("\n", "")


def test_a_lock_beside_a_spec_of_another_ending(room):
    shutil.copy(room.path / "good.toml", room.path / "spec.v2.toml")
    assert room.run("lock", "spec.v2.toml").status == 0
    assert Path(room.path, "spec.v2.lock").is_file()
