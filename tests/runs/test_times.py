"""What phases took: added up over the processes that worked on a run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from freezeplan.models.sealed import read_sealed, write_sealed
from freezeplan.runs.times import TIMES, Times


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at a clock find two seconds more, and half of one of computing."""
    wall, cpu = iter(range(0, 1000, 2)), iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(wall)))
    monkeypatch.setattr(time, "process_time", lambda: next(cpu) / 2)
    monkeypatch.setattr("freezeplan.runs.times.most_memory", lambda: 700)


def started() -> Times:
    return Times(_since=time.monotonic(), _cpu_since=time.process_time())


def test_phases_add_up_and_go_on_in_another_process(clocks: None, tmp_path: Path) -> None:
    first = started()
    for phase in ("heads", "heads", "top"):
        first.note(phase)
    first.write(tmp_path)
    again = started()
    again.go_on(tmp_path)
    again.note("top")
    assert again.seconds == {"heads": 4.0, "top": 4.0}
    assert again.cpu_seconds == {"heads": 1.0, "top": 1.0}
    assert again.peak_bytes == {"heads": 700, "top": 700}


def test_a_file_of_before_has_seconds_alone(clocks: None, tmp_path: Path) -> None:
    write_sealed(tmp_path / TIMES, {"format_version": 1, "seconds": {"heads": 3.0}, "total": 3.0})
    times = started()
    times.go_on(tmp_path)
    times.note("heads")
    times.write(tmp_path)
    found = read_sealed(tmp_path / TIMES)
    assert (found["seconds"], found["cpu_seconds"]) == ({"heads": 5.0}, {"heads": 0.5})
