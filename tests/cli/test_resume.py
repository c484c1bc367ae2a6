"""``train --resume`` and ``verify`` on the command line: what they print, and the status they end with."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.cli.rooms import Room
from tests.cli.test_interrupt import LONG, _read_until, _started
from tests.cli.test_train import SPEC
from tests.runs.changing import reseal
from tests.train.phased import tree

PHASED = SPEC.replace("epochs = 1\n", "") + (
    """
[[phase]]
name = "heads"
epochs = 1

[[phase]]
name = "top"
until = { metric = "mood/accuracy", patience = 1, max_epochs = 2, restore_best = true }

[[phase.rule]]
match = "@layers[-1:]"
state = "trainable"
"""
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, data and specs, in which a run with phases is finished."""
    from tests.train.tiny import save_tiny_bert, write_toy_data

    room = Room(tmp_path_factory.mktemp("resume"))
    save_tiny_bert(room.path / "bert")
    write_toy_data(room.path)
    room.write("freezeplan.toml", SPEC.replace("epochs = 1\n", "epochs = 2\n"))
    room.write("phased.toml", PHASED)
    done = room.run("train", "phased.toml", "--out", "run")
    assert done.status == 0, done.err
    room.write("printed.txt", done.out)
    return room.path


@pytest.fixture
def room(made: Path, tmp_path: Path) -> Room:
    return Room(Path(shutil.copytree(made, tmp_path / "room")))


def back_to(room: Room, checkpoint: str) -> None:
    """Make a run look as if it had been killed after one of its checkpoints."""
    for item in (room.path / "run" / "checkpoints").iterdir():
        if item.name > checkpoint:
            shutil.rmtree(item)
    reseal(room.path / "run" / "run.json", lambda record: record.update(status="running"))


def test_a_run_with_phases_prints_a_line_as_each_begins_and_ends(room: Room) -> None:
    lines = (room.path / "printed.txt").read_text().splitlines()
    starts = [line.split(":")[0] for line in lines if re.match(r"phase \d/", line)]
    assert starts[:4] == ["phase 1/2 heads", "phase 1/2 heads over", "phase 2/2 top", "phase 2/2 top over"]
    assert any(line.startswith("epoch 1/3 of phase heads (") for line in lines)
    over = next(line for line in lines if line.startswith("phase 1/2 heads over: "))
    assert (
        "12 steps, complete; 39 frozen tensors bit-identical (sha256), 4 of 4 trainable tensors moved" in over
    )
    assert " lr " in over and " to 5e-02" in over


def test_resume_takes_the_runs_own_spec_and_ends_with_the_same_files(room: Room) -> None:
    before = tree(room.path / "run")
    oldest = min(item.name for item in (room.path / "run" / "checkpoints").iterdir())
    back_to(room, oldest)
    done = room.run("train", "--resume", "run")
    assert done.status == 0, done.err
    assert f"resumed: from {oldest}, in phase " in done.out
    assert done.out.startswith("phase") or done.out.startswith("group")
    assert tree(room.path / "run") == before


def test_a_damaged_checkpoint_is_named_on_both_streams(room: Room) -> None:
    back_to(room, "step-99999999")
    names = sorted(item.name for item in (room.path / "run" / "checkpoints").iterdir())
    (room.path / "run" / "checkpoints" / names[-1] / "rng.json").write_text("{}")
    done = room.run("train", "--resume", "run")
    assert done.status == 0, done.err
    assert f"checkpoint {names[-1]} is damaged: `rng.json` is not what was written" in done.out
    assert f"warning[FP541]: checkpoint `{names[-1]}` is damaged" in done.err


def test_a_changed_spec_is_refused_with_the_difference_and_what_may_be_allowed(room: Room) -> None:
    back_to(room, "step-99999999")
    room.write(
        "phased.toml", PHASED.replace("lr = 0.05", "lr = 0.01").replace("max_epochs = 2", "max_epochs = 3")
    )
    refused = room.run("train", "phased.toml", "--resume", "run")
    assert refused.status == 1
    assert "error[FP543]: the plan is not the one that the run began with" in refused.err
    assert "base learning rate 5e-02 -> 1e-02" in refused.err
    assert "add `--allow epochs,lr`" in refused.err
    partly = room.run("train", "phased.toml", "--resume", "run", "--allow", "lr")
    assert partly.status == 1 and "base learning rate" not in partly.err
    assert "phase `top`: length count 2 -> 3" in partly.err
    allowed = room.run("train", "phased.toml", "--resume", "run", "--allow", "lr,epochs")
    assert allowed.status == 0, allowed.err
    assert "warning[FP547]" in allowed.err


def test_a_finished_run_a_folder_without_one_and_wrong_usage(room: Room) -> None:
    finished = room.run("train", "--resume", "run")
    assert (finished.status, "error[FP546]" in finished.err) == (2, True)
    nowhere = room.run("train", "--resume", "elsewhere")
    assert (nowhere.status, nowhere.err.startswith("error[FP520]")) == (2, True)
    for arguments in (
        ["--resume", "run", "--out", "b"],
        ["--allow", "lr"],
        ["--resume", "run", "--allow", "seed"],
    ):
        wrong = room.run("train", *arguments)
        assert wrong.status == 2 and "Error: " in wrong.err, arguments


def test_verify_says_what_it_checked_and_finds_what_was_changed(room: Room) -> None:
    good = room.run("verify", "run")
    assert (good.status, good.err) == (0, "")
    assert good.out.startswith("verified: run (finished); ")
    record = json.loads(room.run("verify", "run", "--format", "json").out)
    assert (record["verified"], record["status"]) == (True, "finished")
    (room.path / "run" / "spec.toml").write_text("")
    bad = room.run("verify", "run")
    assert (bad.status, bad.out.startswith("NOT VERIFIED: run")) == (1, True)
    assert "error[FP550]: `spec.toml` is not what was written" in bad.err
    assert room.run("verify", "elsewhere").status == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_command_goes_on_after_ctrl_c_and_after_a_kill(room: Room, number: signal.Signals) -> None:
    room.write("long.toml", LONG)
    with _started(room, "train", "long.toml", "--out", "long") as process:
        _read_until(process, "epoch 2/")
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert "Traceback" not in out + err
    if number == signal.SIGINT:
        assert f"go on with `freezeplan train --resume {Path('long')}`" in err
    epochs = 2 + out.count("epoch ")
    with _started(room, "train", "--resume", "long") as again:
        _read_until(again, "resumed: from step-")
        _read_until(again, f"epoch {epochs + 1}/")
        again.send_signal(signal.SIGINT)
        again.communicate(timeout=120)
    assert again.returncode == 130
    assert os.listdir(room.path / "long" / "checkpoints")
