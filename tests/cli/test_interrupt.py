from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from freezeplan.cli import main
from tests.cli.rooms import Room
from tests.cli.test_train import SPEC

LONG = SPEC.replace("epochs = 1\n", "epochs = 100000\n")


@contextmanager
def _started(room: Room, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Yield the command in a process of its own, which does not outlive the block."""
    command = [sys.executable, "-u", "-m", "freezeplan", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=room.path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _read_until(process: subprocess.Popen[str], start: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    raise AssertionError(f"the process ended before it printed {start!r}: {process.stderr.read()}")


def _where(record: dict[str, Any]) -> str:
    """What is said of the folder: the signal comes between two epochs or in the midst of one."""
    if record["step"] == record["scores"]["validation"]["step"]:
        return f"epoch {record['epoch']} is complete and usable in `run`"
    return f"`run` holds step {record['step']}, in epoch {record['epoch'] + 1}"


@pytest.fixture
def long_run(tmp_path: Path) -> Room:
    from tests.train.tiny import save_tiny_bert, write_toy_data

    room = Room(tmp_path)
    save_tiny_bert(room.path / "bert")
    write_toy_data(room.path)
    room.write("freezeplan.toml", LONG)
    return room


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_leaves_the_last_complete_epoch_usable_and_says_where(long_run, number, status):
    with _started(long_run, "train", "--out", "run") as process:
        _read_until(process, "epoch 2/")
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    record = json.loads((long_run.path / "run" / "run.json").read_text())
    assert process.returncode == status
    assert "Traceback" not in out + err
    assert record["status"] == "interrupted" and record["epoch"] >= 2
    assert _where(record) in err
    answer = long_run.run("predict", "run", "red apple", "--format", "json")
    assert answer.status == 0 and set(json.loads(answer.out)) == {"text", "topic", "mood"}


@pytest.mark.slow
def test_ctrl_c_before_the_first_epoch_leaves_nothing_behind(long_run):
    with _started(long_run, "train", "--out", "run") as process:
        _read_until(process, "model ")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    left = {path.name for path in long_run.path.iterdir()}
    if "run" in left:  # the signal came after the first epoch: then that epoch must be complete
        assert json.loads((long_run.path / "run" / "run.json").read_text())["epoch"] >= 1
    assert not [name for name in left if name.startswith(("run.", ".run"))]


def test_ctrl_c_while_the_program_is_still_loaded_prints_no_traceback(monkeypatch, capsys):
    class Interrupted(ModuleType):
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "freezeplan.cli.program", Interrupted("freezeplan.cli.program"))
    with pytest.raises(SystemExit) as ended:
        main([])
    assert (ended.value.code, capsys.readouterr()) == (130, ("", "stopped by Ctrl-C\n"))
