"""A run that is killed, with SIGKILL or SIGTERM, and resumed each time, ends as if nothing had happened."""

from __future__ import annotations

import functools
import signal
from pathlib import Path

import pytest

from tests.train.killing import kill_and_resume
from tests.train.kinds import every_task
from tests.train.phased import every_kind, stopping
from tests.train.stored import in_files
from tests.train.targets import write_targets

SPECS = {
    "alternate": functools.partial(every_kind, mixing="alternate"),
    "joint": functools.partial(every_kind, mixing="joint", checkpoint_steps=2, keep_best="topic/accuracy"),
    "store": in_files,
    "stop_when": functools.partial(stopping, checkpoint_steps=5, keep_last=1),
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), [("alternate", 1), ("joint", 2), ("stop_when", 3), ("store", 4)])
def test_killed_at_random_moments_and_resumed_is_never_killed(
    toy: Path, tmp_path: Path, kind: str, seed: int
) -> None:
    signals = (signal.SIGKILL, signal.SIGTERM)
    assert len(kill_and_resume(SPECS[kind], {"toy": toy}, tmp_path, 2, seed, signals)) == 2


@pytest.mark.slow
def test_killed_over_tasks_of_every_kind_and_resumed_is_never_killed(tmp_path: Path) -> None:
    for folder in ("targets", "runs"):
        (tmp_path / folder).mkdir()
    write_targets(tmp_path / "targets")
    assert len(kill_and_resume(every_task, {"toy": tmp_path}, tmp_path / "runs", 2, 6)) == 2
